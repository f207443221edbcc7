"""Rows in partitions by number: each number in a partition of its own."""

from functools import lru_cache

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F


def placed(rows: DataFrame, number: Column, partitions: int) -> DataFrame:
    """`rows` with those of number i, 0 to partitions - 1, alone in one partition.

    Hashing the number itself would put some together and leave partitions empty; a range
    partitioning samples its bounds, so its parts are not equal (docs/selection.md).
    """
    keys = F.array(*(F.lit(key) for key in _keys(rows.sparkSession, partitions)))
    return rows.repartition(partitions, F.element_at(keys, number.cast("int") + 1))


@lru_cache
def _keys(spark: SparkSession, partitions: int) -> tuple[int, ...]:
    """An integer for each partition, that Spark's hash partitioning sends there."""
    candidates = spark.range(64 * partitions).select(F.col("id").cast("int").alias("key"))
    place = F.pmod(F.hash("key"), F.lit(partitions)).alias("place")
    rows_by_place = candidates.groupBy(place).agg(F.min("key").alias("key")).collect()
    keys = {row["place"]: row["key"] for row in rows_by_place}
    return tuple(keys[place] for place in range(partitions))
