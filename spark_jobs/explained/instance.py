"""An instance as the tables have it now: when it was asked, its records, labels and rejects.

Of the tables that are searched the column of ids is read whole, a row group at a time: `instances`
and `forward_rejects`, and of records and labels the event date of the instance, where it is known.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.foreign_source import foreign_source
from schemas.pipeline import Pipeline
from schemas.places import filesystem, within
from schemas.reasons import REASONS
from schemas.set_aside import rows_set_aside
from schemas.tables import all_tables
from spark_jobs.storage.day_files import files_by_date, typed

_RECORD = (
    "event_time",
    "model_version",
    "recorded_at",
    "batch_id",
    "prediction",
    "logits",
    "label",
    "loss",
    "segments",
    "propensity",
)


@dataclass(frozen=True)
class Instance:
    """The rows of an instance. day: its event date; None where no table has it."""

    instance_id: str
    day: date | None
    asked: list[dict[str, Any]]
    records: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    aside: list[dict[str, Any]]


def instance_of(pipeline: Pipeline, warehouse: str, instance_id: str) -> Instance:
    """What the tables have of an id. Raises deltalake's TableNotFoundError."""

    def rows(name: str, columns: Collection[str], days: Collection[date] | None) -> list[Any]:
        return [
            {"event_date": day} | {key: value for key, value in row.items() if value is not None}
            for day, found in _found(pipeline, warehouse, name, instance_id, columns, days)
            for row in found.to_pylist()
        ]

    asked = rows("instances", ("event_time",), None)
    days = {row["event_date"] for row in asked} or None
    records = rows("forward_records", _RECORD, days)
    labels = rows("labels", ("known_at", *pipeline.labels.known_as.values()), days)
    rejects = rows("forward_rejects", ("reason", "batch_id", "rejected_at"), None)
    known = [row["event_date"] for row in (*asked, *records, *labels)]
    return Instance(
        instance_id,
        known[0] if known else None,
        asked,
        sorted(records, key=lambda row: str(row.get("recorded_at"))),
        sorted(labels, key=lambda row: str(row.get("known_at"))),
        [row | {"means": REASONS.get(row["reason"])} for row in rejects],
        [row for row in rows_set_aside(warehouse) if row["instance_id"] == instance_id],
    )


def rows_with(path: str, file: str, instance_id: str, columns: Collection[str]) -> pa.Table | None:
    """The rows of an instance in one file of the table at `path`, as they are stored; None where
    there is none."""
    store, place = filesystem(f"{path}/{unquote(file)}")
    parts = []
    with pq.ParquetFile(place, filesystem=store) as stored:
        for group in range(stored.num_row_groups):
            ids = stored.read_row_group(group, columns=["instance_id"])["instance_id"]
            mine = pc.fill_null(pc.equal(ids, instance_id), False)
            if pc.any(mine, min_count=0).as_py():
                parts.append(stored.read_row_group(group, columns=list(columns)).filter(mine))
    return pa.concat_tables(parts) if parts else None


def _found(
    pipeline: Pipeline,
    warehouse: str,
    name: str,
    instance_id: str,
    columns: Collection[str],
    days: Collection[date] | None,
) -> Iterator[tuple[date, pa.Table]]:
    """Event date and rows of each file that has some, in the types of the definition."""
    schema = all_tables(pipeline)[name].arrow_schema
    source = foreign_source(pipeline, warehouse, name)
    for day, files in files_by_date(pipeline, warehouse, name).items():
        for file in files if days is None or day in days else ():
            if source is not None:
                whole = source.rows_of_part(file, list(dict.fromkeys(["instance_id", *columns])))
                mine = pc.fill_null(pc.equal(whole["instance_id"], instance_id), False)
                if pc.any(mine, min_count=0).as_py():
                    yield day, whole.filter(mine).select(list(columns))
                continue
            rows = rows_with(within(warehouse, name), file["path"], instance_id, columns)
            if rows is not None:
                yield day, pa.table({one: typed(rows, schema.field(one)) for one in columns})
