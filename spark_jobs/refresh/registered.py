"""What is known of the models that left records: which they are, and what they learnt from.

The registry knows it. What it knew when a refresh was drawn is kept in the manifest, so that a
warehouse tells as much without its registry. Without Spark: `due` asks too.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from deltalake.exceptions import TableNotFoundError

from schemas.log import log
from schemas.manifests import read_cuts
from schemas.pipeline import Pipeline
from schemas.places import is_remote, within
from schemas.registry import mlflow_client, registry_exists
from spark_jobs.refresh.plan import cut_of

Tags = Mapping[str, str]


@dataclass(frozen=True)
class Models:
    """Versions of the pipeline's model.

    accepted: those whose records count, sorted; None where any does. learnt_until: of each whose
    origin is known here, the latest cut of the refreshes that it and all models before it were
    trained on.
    """

    accepted: tuple[str, ...] | None = None
    learnt_until: Mapping[str, datetime] = field(default_factory=dict)


def models_of(pipeline: Pipeline, warehouse: str) -> Models:
    """The models that the registry knows as those of the pipeline."""
    # The models of an imported log are somebody else's; no registry of ours knows them.
    if pipeline.log is not None:
        return Models()
    versions = registered_versions(warehouse, pipeline.name)
    any_counts = pipeline.selection.unknown_models == "accept" or not versions
    cuts, learnt = _refreshes(warehouse)
    return Models(
        None if any_counts else tuple(sorted(versions)), learnt | learnt_until(versions, cuts)
    )


def registered_versions(warehouse: str, name: str) -> dict[str, Tags]:
    """The tags of each version of model `name`; none where there is no registry or no model."""
    if not registry_at_hand(warehouse):
        return {}
    client, versions, token = mlflow_client(warehouse), dict[str, Tags](), None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        versions |= {str(version.version): version.tags for version in page}
        token = page.token
        if not token:
            return versions


def registry_at_hand(warehouse: str) -> bool:
    """Whether there is a registry, and what it takes to ask it."""
    local = not is_remote(warehouse) and Path(warehouse).exists()
    if not ("MLFLOW_TRACKING_URI" in os.environ or local) or not registry_exists(warehouse):
        return False
    if importlib.util.find_spec("mlflow") is None:
        log.warning("mlflow is not installed here: model versions are not checked")
        return False
    return True


def learnt_until(versions: Mapping[str, Tags], cuts: Mapping[str, datetime]) -> dict[str, datetime]:
    """The latest cut behind each version, its own and those of all parents.

    cuts: by refresh. A version is left out where one of these is not known.
    """
    found: dict[str, datetime] = {}
    for version in versions:
        behind = [_own_cut(tags, cuts) for tags in line_of(version, versions).values()]
        known = [cut for cut in behind if cut is not None]
        if known and len(known) == len(behind):
            found[version] = max(known)
    return found


def line_of(version: str | None, versions: Mapping[str, Tags]) -> dict[str, Tags]:
    """The tags of a version and of all parents, the nearest first; none of a parent that is not
    there."""
    seen: dict[str, Tags] = {}
    while version is not None and version not in ("none", *seen):
        seen[version] = versions.get(version, {})
        version = seen[version].get("parent_version")
    return seen


def _own_cut(tags: Tags, cuts: Mapping[str, datetime]) -> datetime | None:
    """The cut of the refresh that a version was trained on; by its day where it is gone."""
    cut = cuts.get(tags.get("refresh_id", ""))
    return cut_of(date.fromisoformat(tags["ds"])) if cut is None and "ds" in tags else cut


def _refreshes(warehouse: str) -> tuple[dict[str, datetime], dict[str, datetime]]:
    try:
        return read_cuts(within(warehouse, "refreshes"))
    except TableNotFoundError:
        return {}, {}
