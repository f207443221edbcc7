"""Tables of a pipeline made by delta-rs, where a test needs no Spark."""

from pathlib import Path

from deltalake import DeltaTable

from schemas.columns import Table
from schemas.tables import forward_records, forward_rejects


def create(root: Path, table: Table) -> None:
    """The table with its columns, partitions and constraints."""
    made = DeltaTable.create(
        str(root / table.name), table.arrow_schema, partition_by=list(table.partition_by)
    )
    if table.constraints:
        made.alter.add_constraint(table.constraints)


def record_tables(root: Path) -> Path:
    """`forward_records` and `forward_rejects` in a new warehouse."""
    for table in (forward_records(), forward_rejects()):
        create(root, table)
    return root
