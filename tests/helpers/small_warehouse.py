"""A warehouse of three days whose tables are written out here, by delta-rs, without Spark.

As somebody else writes them: without constraints, so that they may hold whatever a test is about.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from schemas.pipeline import Pipeline
from schemas.tables import all_tables
from spark_jobs.storage.warehouse import Warehouse

DAYS = tuple(date(2026, 2, day) for day in (1, 2, 3))
A_DAY = 20  # instances
Row = dict[str, Any]


def pipeline(**sections: Any) -> Pipeline:
    """A binary pipeline with one feature view; `check={...}` and so on add sections."""
    return Pipeline.model_validate(
        {
            "name": "shops",
            "task": "binary",
            "holdout": 0.1,
            "instances": {
                "columns": {"shop": {"type": "string"}, "price": {"type": "float32"}},
                "segments": ["shop"],
            },
            "labels": {"label": "sold", "columns": {"sold": {"type": "float64"}}},
            "feature_views": [
                {
                    "name": "shelves",
                    "entity": ["shop"],
                    "columns": {"width": {"type": "float32"}},
                    "ttl": "30d",
                }
            ],
            "features": {
                "price": {"kind": "number"},
                "width": {"kind": "number", "source": "shelves.width"},
            },
        }
        | {"selection": {"window_days": 3, "budget": 0.5, "policy": "grad-norm"}}
        | sections
    )


def asked_at(day: date, number: int) -> datetime:
    """When instance `number` of a day is asked about, UTC."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return midnight + timedelta(hours=6, minutes=10 * number)


def instances(days: Iterable[date] = DAYS, count: int = A_DAY) -> list[Row]:
    """Sound instances: `2026-02-01/0` and so on."""
    return [
        {
            "instance_id": f"{day}/{number}",
            "event_time": asked_at(day, number),
            "event_date": day,
            "shop": "north" if number % 2 else "south",
            "price": float(number),
        }
        for day in days
        for number in range(count)
    ]


def records(of: Iterable[Row]) -> list[Row]:
    """A record of each of these instances, made a second later."""
    return [
        {
            "instance_id": one["instance_id"],
            "event_time": one["event_time"],
            "event_date": one["event_date"],
            "model_version": "1",
            "batch_id": f"score/{one['event_date']}",
            "recorded_at": one["event_time"] + timedelta(seconds=1),
            "prediction": -1.0 + 0.1 * (number % 20),
            "segments": [one["shop"]],
        }
        for number, one in enumerate(of)
    ]


def labels(of: Iterable[Row]) -> list[Row]:
    """A label of each of these instances, known two hours later."""
    return [
        {
            "instance_id": one["instance_id"],
            "event_date": one["event_date"],
            "known_at": one["event_time"] + timedelta(hours=2),
            "sold": float(number % 3 == 0),
        }
        for number, one in enumerate(of)
    ]


def shelves(days: Iterable[date] = DAYS) -> list[Row]:
    """The view's rows: one a shop and day, at midnight."""
    return [
        {
            "shop": shop,
            "event_timestamp": asked_at(day, 0) - timedelta(hours=6),
            "created": asked_at(day, 0) - timedelta(hours=6),
            "width": float(day.day),
        }
        for day in days
        for shop in ("north", "south")
    ]


def filled(folder: Path, of: Pipeline | None = None, **rows: list[Row]) -> Warehouse:
    """A warehouse with sound rows, but where `instances`, `records`, `labels` or `shelves` are
    given."""
    warehouse = Warehouse(str(folder / "warehouse"), of or pipeline())
    given = rows.get("instances", instances())
    tables = {
        "instances": given,
        "forward_records": rows.get("records", records(given)),
        "labels": rows.get("labels", labels(given)),
        "features/shelves": rows.get("shelves", shelves()),
    }
    for name in all_tables(warehouse.pipeline):
        append(warehouse, name, tables.get(name, []))
    return warehouse


def append(warehouse: Warehouse, name: str, rows: list[Row]) -> None:
    """Append rows; columns that they leave out are null."""
    table = all_tables(warehouse.pipeline)[name]
    schema = pa.schema([field.with_nullable(True) for field in table.arrow_schema])
    write_deltalake(
        warehouse.path(name),
        pa.Table.from_pylist(rows, schema),
        mode="append",
        partition_by=list(table.partition_by) or None,
    )
