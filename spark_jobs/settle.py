"""Compute a DataFrame once: on the driver where it is small, in Spark's cache where it is not."""

from pyspark.sql import DataFrame

DRIVER_ROWS = 1 << 18


def settle(rows: DataFrame, at_most: int) -> DataFrame:
    """`rows`, computed, for several uses.

    at_most: a bound on their number, known without counting (from a table's log). Within
    `DRIVER_ROWS` the result holds its rows itself, so that what is asked of it next costs
    milliseconds instead of a Spark job over its inputs; above, it is cached.
    """
    if at_most <= DRIVER_ROWS:
        return rows.sparkSession.createDataFrame(rows.toArrow(), rows.schema)
    return rows.persist()
