"""The tables of a warehouse that are not there yet, made with constraints and properties."""

from concurrent.futures import ThreadPoolExecutor
from typing import cast

from delta.tables import DeltaTable
from pyspark.sql import types as T

from schemas.columns import Table
from schemas.ownership import FORMAT, FORMAT_OF, OWNER
from schemas.places import for_spark
from schemas.progress import step
from spark_jobs.storage.warehouse import Warehouse


def create_missing(warehouse: Warehouse) -> list[str]:
    """Create the tables that are not there; their names."""
    own = warehouse.own_tables.values()
    missing = [table for table in own if not warehouse.exists(table.name)]
    if not missing:
        return []
    warehouse.spark.active()  # started here, because the threads below would race to start it
    with (
        step(f"creating {len(missing)} tables"),
        ThreadPoolExecutor(max_workers=4) as pool,
    ):
        list(pool.map(lambda table: create(warehouse, table), missing))
    return [table.name for table in missing]


def create(warehouse: Warehouse, table: Table) -> None:
    """One CREATE TABLE for all of it; as table properties, constraints need no ALTER each."""
    columns = cast(T.StructType, T.StructType.fromDDL(table.spark_ddl))
    builder = DeltaTable.createIfNotExists(warehouse.spark).location(
        for_spark(warehouse.path(table.name))
    )
    builder = builder.comment(table.doc).addColumns(columns)
    if table.partition_by:
        builder = builder.partitionedBy(*table.partition_by)
    constraints = {f"delta.constraints.{k}": v for k, v in table.constraints.items()}
    owner = {OWNER: warehouse.pipeline.name, FORMAT_OF: str(FORMAT)}
    for key, value in (table.properties | constraints | owner).items():
        builder = builder.property(key, value)
    builder.execute()
