"""Which model versions learnt from an instance: by the registry's tags, their own and their
parents'."""

from collections.abc import Mapping
from typing import Any

from schemas.registry import PROMOTED
from spark_jobs.refresh.registered import Tags, line_of


def learners(versions: Mapping[str, Tags], drawn: Mapping[str, str]) -> list[dict[str, Any]]:
    """The versions that were trained on one of the refreshes, and those whose weights began with
    one of these; oldest first.

    versions: the tags of each. drawn: the sample digest of each refresh that drew the instance; a
    version that was trained on another sample of that refresh has another.
    """
    found = []
    for version in sorted(versions, key=lambda one: (len(one), one)):
        line = line_of(version, versions)
        learnt = [name for name in line if _trained_on(versions.get(name, {}), drawn)]
        if learnt:
            own = learnt[0] == version
            found.append(
                {
                    "version": version,
                    "refresh_id": versions[learnt[0]]["refresh_id"],
                    "how": "trained on it" if own else f"began with version {learnt[0]}",
                    "promoted": PROMOTED in versions[version],
                }
            )
    return found


def _trained_on(tags: Tags, drawn: Mapping[str, str]) -> bool:
    digest = drawn.get(tags.get("refresh_id", ""))
    return digest is not None and tags.get("sample_digest", digest) == digest
