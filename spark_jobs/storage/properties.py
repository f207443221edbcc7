"""The properties that a table must have, and the commit that gives them back. By delta-rs.

A table is made with those of its definition. What `[maintenance]` promises may ask for longer
retention than that, and a killed `maintain` may have left an append-only table open.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import ceil

from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import CommitFailedError
from pyarrow import fs

from schemas.columns import Table
from schemas.errors import ConflictError
from schemas.places import filesystem
from schemas.sections.maintenance import Maintenance
from schemas.sections.section import LONGEST, parse_duration

APPEND_ONLY = "delta.appendOnly"
LOG = "delta.logRetentionDuration"  # after which commits, and with them old versions, are forgotten
DROPPED = "delta.deletedFileRetentionDuration"  # after which a file is not known to be dropped
# The log is kept for so much longer than the oldest pinned version is old: until then at the latest
# `maintain` must run again.
MARGIN = timedelta(days=200)

_DAYS = {"day": 1.0, "week": 7.0, "hour": 1 / 24, "minute": 1 / 1440, "second": 1 / 86400}
_INTERVAL = re.compile(r"(?:interval )?(\d+) (\w+?)s?")


def of_definition(table: Table) -> dict[str, str]:
    """Those that a killed `maintain` may have changed."""
    return {key: value for key, value in table.properties.items() if key == APPEND_ONLY}


def of_settings(
    table: Table, path: str, settings: Maintenance, pinned: Iterable[int], now: datetime
) -> dict[str, str]:
    """Those that `[maintenance]` asks for as well. pinned: versions that must stay readable; for
    ever where the settings name a refresh."""
    ages = [now - made for version in pinned if (made := _committed(path, version)) is not None]
    reach = ceil((max(ages, default=timedelta()) + MARGIN) / MARGIN) * MARGIN
    unused = parse_duration(settings.unused_files)
    wanted = {LOG: max(LONGEST if settings.pinned else reach, unused), DROPPED: unused}
    longer = {key: length for key, length in wanted.items() if length > _retention(table, key)}
    return of_definition(table) | {
        key: f"interval {ceil(length / timedelta(days=1))} days" for key, length in longer.items()
    }


def _retention(table: Table, key: str) -> timedelta:
    return length_of(table.properties[key]) or timedelta()


def length_of(interval: str) -> timedelta | None:
    """An interval as Delta's properties have it; None for one that is written otherwise."""
    found = _INTERVAL.fullmatch(interval.strip().lower())
    if found is None or found[2] not in _DAYS:
        return None
    return timedelta(days=int(found[1]) * _DAYS[found[2]])


def _committed(path: str, version: int) -> datetime | None:
    """When a version was committed, by its file, as the log's own cleanup judges it."""
    store, name = filesystem(f"{path}/_delta_log/{version:020}.json")
    info = store.get_file_info(name)
    return None if info.type != fs.FileType.File else info.mtime.astimezone(UTC)


def lacking(path: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Those of the wanted properties that a table has not; a longer retention will do."""
    there = Snapshot(path).metadata().configuration
    return {key: value for key, value in wanted.items() if not _does(there.get(key), value)}


def _does(there: str | None, wanted: str) -> bool:
    if there is None or there == wanted:
        return there is not None
    have, need = length_of(there), length_of(wanted)
    return have is not None and need is not None and have >= need


def give(path: str, properties: Mapping[str, str]) -> None:
    """Set properties, in one commit. Raises ConflictError where another writer is faster."""
    if not properties:
        return
    try:
        Snapshot(path).alter.set_table_properties(dict(properties), raise_if_not_exists=False)
    except CommitFailedError as error:
        raise ConflictError(
            f"table {path}: its properties were not set, another job changed the table meanwhile."
            " Remedy: repeat the command when it has ended."
        ) from error
