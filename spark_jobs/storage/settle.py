"""Compute a DataFrame once: on the driver where it is small, in Spark's cache where it is not; and
let go of it, or a session of many days would hold what each of them has computed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame, SparkSession

from schemas.errors import ConfigurationError

DRIVER_ROWS = 1 << 18
DRIVER_ROWS_SETTING = "spark.tenforward.driverRows"

Keep = Callable[[DataFrame], DataFrame]


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
    milliseconds instead of a Spark job over its inputs; above, it is cached: `letting_go`.
    """
    if at_most <= driver_rows(rows.sparkSession):
        return rows.sparkSession.createDataFrame(rows.toArrow(), rows.schema)
    return rows.persist()


@contextmanager
def letting_go() -> Iterator[Keep]:
    """A function that notes what is cached, and gives it back; all of it is uncached at the end,
    however that comes about, the last first: nothing then is cached that stands on what is not."""
    kept: list[DataFrame] = []

    def keep(rows: DataFrame) -> DataFrame:
        kept.append(rows)
        return rows

    try:
        yield keep
    finally:
        for rows in reversed(kept):
            if rows.is_cached:
                rows.unpersist()
