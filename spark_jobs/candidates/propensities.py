"""With which chance a label was asked for: what selection divides weights by."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.asked import propensities
from spark_jobs.storage.warehouse import Warehouse


def with_propensities(
    warehouse: Warehouse, records: DataFrame, version: int | None, cut: datetime
) -> DataFrame:
    """The records with `propensity`, the chance with which their instance was asked for its label
    by `cut`; null where it was not, or where nobody had been asked at that version of the table."""
    asked = propensities(warehouse.root, version, cut)
    if not asked.num_rows:
        return records
    named = asked.rename_columns(["instance_id", "propensity"])
    chances = warehouse.spark.createDataFrame(named)
    return records.join(F.broadcast(chances), "instance_id", "left")
