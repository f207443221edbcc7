"""Columns that a later release brought, added to tables that an earlier one created."""

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from deltalake import Field, Schema

from schemas.columns import Table
from schemas.tables import fixed_tables
from spark_jobs.storage.warehouse import Warehouse


def widen(warehouse: Warehouse) -> list[str]:
    """Add the nullable columns that tables lack; `table.column` of each. Rows have null there.

    Columns of a pipeline's own are the user's to add.
    """
    return [
        f"{table.name}.{name}"
        for table in fixed_tables()
        if warehouse.exists(table.name)
        for name in _widened(warehouse, table)
    ]


def _widened(warehouse: Warehouse, table: Table) -> list[str]:
    snapshot = Snapshot(warehouse.path(table.name))
    there = set(pa.schema(snapshot.schema().to_arrow()).names)
    missing = [c.name for c in table.columns if c.nullable and c.name not in there]
    if missing:
        wanted = Schema.from_arrow(pa.schema([table.arrow_schema.field(n) for n in missing]))
        snapshot.alter.add_columns([Field(f.name, f.type, nullable=True) for f in wanted.fields])
    return missing
