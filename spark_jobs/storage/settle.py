"""Compute a DataFrame once: on the driver where it is small, in Spark's cache where it is not."""

from pyspark.sql import DataFrame, SparkSession

from schemas.errors import ConfigurationError

DRIVER_ROWS = 1 << 18
DRIVER_ROWS_SETTING = "spark.tenforward.driverRows"


def driver_rows(spark: SparkSession) -> int:
    """Up to how many rows the driver holds: `--conf spark.tenforward.driverRows=N`, 0 for none."""
    given = spark.conf.get(DRIVER_ROWS_SETTING, str(DRIVER_ROWS)) or ""
    if not given.isdecimal():
        raise ConfigurationError(
            f"{DRIVER_ROWS_SETTING} = {given!r}: not a number of rows. Remedy: give one, such as"
            f" {DRIVER_ROWS}, or 0 to leave every row to the executors."
        )
    return int(given)


def settle(rows: DataFrame, at_most: int) -> DataFrame:
    """`rows`, computed, for several uses.

    at_most: a bound on their number, known without counting (from a table's log). Within
    `driver_rows` the result holds its rows itself, so that what is asked of it next costs
    milliseconds instead of a Spark job over its inputs; above, it is cached.
    """
    if at_most <= driver_rows(rows.sparkSession):
        return rows.sparkSession.createDataFrame(rows.toArrow(), rows.schema)
    return rows.persist()
