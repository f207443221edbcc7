"""Tables of a pipeline made by delta-rs, where no Spark is needed."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from pyarrow.dataset import HivePartitioning, dataset

from schemas.columns import Table
from schemas.ownership import OWNER
from schemas.tables import forward_records, forward_rejects


def create(root: Path, table: Table, owner: str | None = None) -> None:
    """The table with its columns, partitions and constraints, and its pipeline's name if given."""
    created = Snapshot.create(
        str(root / table.name),
        table.arrow_schema,
        partition_by=list(table.partition_by),
        configuration={OWNER: owner} if owner else None,
        raise_if_key_not_exists=False,
    )
    if table.constraints:
        created.alter.add_constraint(table.constraints)


def record_tables(root: Path, owner: str | None = None) -> Path:
    """`forward_records` and `forward_rejects` in a new warehouse."""
    for table in (forward_records(), forward_rejects()):
        create(root, table, owner)
    return root


_HIVE = HivePartitioning(pa.schema([("event_date", pa.date32())]))
_SCHEMAS = {table.name: table.arrow_schema for table in (forward_records(), forward_rejects())}


def stored(root: Path, name: str = "forward_records") -> list[dict[str, Any]]:
    """The rows of one of the two tables, by instance."""
    files = Snapshot(str(root / name)).file_uris()
    table = dataset(files, format="parquet", partitioning=_HIVE, schema=_SCHEMAS[name]).to_table()
    return sorted(table.to_pylist(), key=lambda row: row["instance_id"])
