"""With which chance a label was asked for: what selection divides weights by."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.asked import ASKED
from spark_jobs.storage.warehouse import Warehouse


def with_propensities(
    warehouse: Warehouse, records: DataFrame, version: int | None, cut: datetime
) -> DataFrame:
    """The records with `propensity`, the chance with which their instance was asked for its label
    by `cut`; null where it was not, or where nobody had been asked at that version of the table."""
    if version is None:
        return records
    asked = warehouse.read(ASKED, version).where(F.col("drawn") & (F.col("cut") <= F.lit(cut)))
    chances = asked.select("instance_id", F.col("probability").alias("propensity"))
    return records.join(F.broadcast(chances), "instance_id", "left")
