"""When the rows of a foreign Delta table were committed: the latest moment at which they can have
become known, for labels that do not say it themselves.

A commit that adds rows says when its files came. One that only rearranges them (OPTIMIZE) gives its
files the latest moment of those that it took away: never too early. Of files that came before the
log begins, which its own cleaning has shortened, it is known only that they were there by its first
commit: that moment is theirs.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from pyarrow import fs

from schemas.foreign import ForeignTable
from schemas.log import log
from schemas.places import filesystem

Moments = dict[str, int]  # microseconds since 1970 by the path of a file, from the table on


def commit_moments(table: ForeignTable, version: int, paths: set[str]) -> Moments:
    """Of the files of a version, when each one's rows were committed."""
    known: Moments = {}
    first: int | None = None
    for at, added, removed, rearranged in _commits(table, version):
        first = at if first is None else first
        before = [known.get(path, first) for path in removed]
        moment = max(before, default=first) if rearranged else at
        again = {path: known.get(path, first) for path in added if path in removed}
        known |= dict.fromkeys(added, moment) | again
    lost = paths - known.keys()
    if lost and first is not None:
        log.warning(
            "table %s: its log has forgotten when %d of %d files came; their labels count from its"
            " first commit on",
            *(table, len(lost), len(paths)),
        )
    return {path: known.get(path, first or 0) for path in paths}


def _commits(table: ForeignTable, version: int) -> Iterator[tuple[int, list[str], list[str], bool]]:
    """Moment, files added and removed, and whether rows were only rearranged; oldest first."""
    store, folder = filesystem(f"{table.place}/_delta_log")
    listed = store.get_file_info(fs.FileSelector(folder))
    logged = sorted(
        (int(one.base_name[:-5]), one.path)
        for one in listed
        if one.is_file and one.base_name.endswith(".json") and one.base_name[:-5].isdecimal()
    )
    for number, path in logged:
        if number > version:
            return
        with store.open_input_stream(path) as file:
            lines = [json.loads(line) for line in file.read().splitlines() if line.strip()]
        added = [line["add"] for line in lines if "add" in line]
        removed = [line["remove"]["path"] for line in lines if "remove" in line]
        info: dict[str, Any] = next((one["commitInfo"] for one in lines if "commitInfo" in one), {})
        at = info.get("inCommitTimestamp") or info.get("timestamp")
        if at is None:  # no writer of today leaves it out
            at = max((int(one["modificationTime"]) for one in added), default=0)
        rearranged = bool(added) and not any(one.get("dataChange", True) for one in added)
        names = [unquote(one["path"]) for one in added]
        yield int(at) * 1000, names, [unquote(one) for one in removed], rearranged
