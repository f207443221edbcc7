"""Which instances are set aside: read from the append-only table, where the newest row counts."""

from typing import Any

from deltalake import DeltaTable as Snapshot

from schemas.places import within
from schemas.side_tables import set_aside
from schemas.stored import stored

SET_ASIDE = set_aside().name


def rows_set_aside(warehouse: str, version: int | None = None) -> list[dict[str, Any]]:
    """Every row of the table in the order of their moments: at a version, or now, where there may
    be no table. Raises deltalake's errors where the version is gone."""
    path = within(warehouse, SET_ASIDE)
    if version is None and not Snapshot.is_deltatable(path):
        return []
    rows = stored(Snapshot(path, version=version), set_aside().arrow_schema)
    found = [] if rows is None else rows.to_table().to_pylist()
    return sorted(found, key=lambda row: row["at"])


def ids_set_aside(warehouse: str, version: int | None) -> list[str]:
    """The ids that are no candidates at a version, sorted; none where a refresh pins no version,
    because there was no such table yet."""
    if version is None:
        return []
    newest = {row["instance_id"]: row["aside"] for row in rows_set_aside(warehouse, version)}
    return sorted(one for one, aside in newest.items() if aside)


def version_set_aside(warehouse: str) -> int | None:
    """The version of the table now; None where there is none."""
    path = within(warehouse, SET_ASIDE)
    return Snapshot(path).version() if Snapshot.is_deltatable(path) else None
