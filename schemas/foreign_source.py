"""A foreign table as commands without Spark read it: the table, and the instances whose moments its
labels may take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable as Snapshot

from schemas import foreign_files
from schemas.foreign import ASKED, ForeignTable, foreign_table
from schemas.foreign_rows import AskedAt, all_rows, parts_of, require_columns, rows_of_part
from schemas.places import filesystem, within

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline

_ASKED_AT: dict[tuple[str, int], AskedAt] = {}  # of versions, which do not change
_KEPT = 4


@dataclass(frozen=True)
class ForeignSource:
    """A foreign table of a pipeline. asked: the version of `instances` that labels take their
    moments from; None for the newest."""

    table: ForeignTable
    pipeline: "Pipeline"
    warehouse: str
    asked: int | None = None

    @cached_property
    def asked_at(self) -> AskedAt | None:
        """When each instance was asked, where the table's rows do not say it."""
        if not self.table.asks_instances:
            return None
        return asked_at(self.pipeline, self.warehouse, self.asked)

    def pin(self) -> dict[str, str | None]:
        """What tells the table from another one in its place, for a manifest."""
        delta = self.table.format == "delta"
        identity = str(foreign_files.snapshot_of(self.table).metadata().id) if delta else None
        return {"place": self.table.place, "format": self.table.format, "id": identity}

    def require(self, version: int | None = None) -> None:
        """Refuse a table that is not there or does not fit. Raises ConfigurationError."""
        require_columns(self.table, version)

    def version(self) -> int:
        """The newest version; of Parquet a digest of its files."""
        return foreign_files.version_of(self.table)

    def is_whole(self, version: int) -> bool:
        """Whether a version can still be read: its log, and every file."""
        return foreign_files.is_whole(self.table, version)

    def newest(self, version: int, column: str) -> datetime | None:
        """The largest moment in a column of ours, by statistics alone; None without them."""
        return foreign_files.newest(self.table, version, column)

    def parts(self, version: int | None = None) -> list[dict[str, Any]]:
        """The data files in parts of one event date, as `foreign_rows.parts_of` has them."""
        return parts_of(self.table, version, self.asked_at)

    def rows_of_part(self, part: Mapping[str, Any], columns: Sequence[str]) -> pa.Table:
        """Columns of ours of one part."""
        return rows_of_part(self.table, part, columns, self.asked_at)

    def rows(self, columns: Sequence[str], version: int | None = None) -> Iterator[pa.Table]:
        """Columns of ours of every file."""
        return all_rows(self.table, version, columns, self.asked_at)


def foreign_source(
    pipeline: "Pipeline", warehouse: str, name: str, asked: int | None = None
) -> ForeignSource | None:
    """A foreign table to read; None where the table is tenforward's own. Raises as
    `foreign_table` does."""
    table = foreign_table(pipeline, warehouse, name)
    return None if table is None else ForeignSource(table, pipeline, warehouse, asked)


def asked_at(pipeline: "Pipeline", warehouse: str, version: int | None) -> AskedAt:
    """When each instance was asked, of a version of `instances`, or now: its ids and moments are
    read whole."""
    source = foreign_source(pipeline, warehouse, ASKED)
    place = within(warehouse, ASKED) if source is None else source.table.place
    if version is None:
        version = Snapshot(place).version() if source is None else source.version()
    if (place, version) not in _ASKED_AT:
        if len(_ASKED_AT) > _KEPT:
            _ASKED_AT.clear()
        columns = ["instance_id", "event_time", "event_date"]
        rows = _own(place, version) if source is None else source.rows(columns, version)
        _ASKED_AT[place, version] = AskedAt.of(rows, (place, version))
    return _ASKED_AT[place, version]


def _own(place: str, version: int) -> Iterator[pa.Table]:
    """Of a table of the warehouse, whose folders are its dates."""
    actions = pa.table(Snapshot(place, version=version).get_add_actions()).to_pylist()
    for action in actions:
        store, path = filesystem(f"{place}/{unquote(action['path'])}")
        names = ["instance_id", "event_time"]
        with pq.ParquetFile(path, filesystem=store, coerce_int96_timestamp_unit="us") as stored:
            rows = stored.read(columns=names)
        moment = rows["event_time"].cast(pa.timestamp("us", tz="UTC"))
        day = pa.repeat(pa.scalar(action["partition"]["event_date"], pa.date32()), rows.num_rows)
        yield pa.table(
            {"instance_id": rows["instance_id"], "event_time": moment, "event_date": day}
        )
