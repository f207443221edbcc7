"""The tables of `small_warehouse` as a company has them: elsewhere, under other names, none of them
made by tenforward. By delta-rs and pyarrow, without Spark."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from schemas.pipeline import Pipeline
from schemas.tables import all_tables
from tests.helpers import small_warehouse
from tests.helpers.small_warehouse import Row

# Ours -> theirs; the event date is derived.
NAMES = {
    "instances": {
        "instance_id": "Request-Id",
        "event_time": "asked_at",
        "shop": "store",
        "price": "price_eur",
    },
    "labels": {"instance_id": "request", "known_at": "arrived", "sold": "was_sold"},
    "features/shelves": {
        "shop": "STORE",
        "event_timestamp": "as_of",
        "created": "loaded",
        "width": "w",
    },
}


def mapped(folder: Path, form: str = "delta", **sections: Any) -> Pipeline:
    """`small_warehouse.pipeline` over the tables of a lake in this folder. What is given of
    `labels` and `instances` is merged into these; None takes a setting out."""
    plain = small_warehouse.pipeline().model_dump(exclude_unset=True)
    given = {"instances": {}, "labels": {}} | sections
    instances = {
        "path": str(folder / "requests"),
        "format": form,
        "instance_id": "Request-Id",
        "event_time": "asked_at",
        "segments": ["shop"],
        "columns": {
            "shop": {"type": "string", "column": "store"},
            "price": {"type": "float32", "column": "price_eur"},
        },
    } | given.pop("instances")
    labels = {
        "path": str(folder / "outcomes"),
        "format": form,
        "instance_id": "request",
        "known_at": "arrived",
        "label": "sold",
        "columns": {"sold": {"type": "float64", "column": "was_sold"}},
    } | given.pop("labels")
    view = {
        **plain["feature_views"][0],
        "path": str(folder / "shelf_widths"),
        "format": form,
        "names": {"shop": "STORE", "event_timestamp": "as_of", "created": "loaded"},
        "columns": {"width": {"type": "float32", "column": "w"}},
    }
    own = {"instances": _given(instances), "labels": _given(labels), "feature_views": [view]}
    return Pipeline.model_validate(plain | own | given)


def _given(section: dict[str, Any]) -> dict[str, Any]:
    """Of a table in the catalog, which has the format, without one."""
    gone = {"format"} if "table" in section else set()
    return {key: one for key, one in section.items() if one is not None and key not in gone}


PLACES = {"instances": "requests", "labels": "outcomes", "features/shelves": "shelf_widths"}


def as_theirs(
    name: str, rows: Iterable[Mapping[str, Any]], more: Mapping[str, str] | None = None
) -> pa.Table:
    """Rows of ours under their names. more: further columns that they have, ours -> theirs."""
    names = NAMES[name] | (more or {})
    schema = all_tables(small_warehouse.pipeline())[name].arrow_schema
    fields = [schema.field(ours).with_nullable(True) for ours in names]
    table = pa.Table.from_pylist([dict(row) for row in rows], pa.schema(fields))
    return table.rename_columns(list(names.values()))


def lake(folder: Path, form: str = "delta", **rows: list[Row]) -> Path:
    """Sound tables in a folder, but where `instances`, `labels` or `shelves` are given."""
    asked = rows.get("instances", small_warehouse.instances())
    given = {
        "instances": asked,
        "labels": rows["labels"] if "labels" in rows else small_warehouse.labels(asked),
        "features/shelves": rows.get("shelves", small_warehouse.shelves()),
    }
    for name, place in PLACES.items():
        table = as_theirs(name, given[name])
        if form == "delta":
            write_deltalake(str(folder / place), table)
        else:
            (folder / place).mkdir(parents=True)
            half = table.num_rows // 2
            for number, part in enumerate((table.slice(0, half), table.slice(half))):
                pq.write_table(part, folder / place / f"part-{number}.parquet")
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, with its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
