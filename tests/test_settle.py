"""How many rows the driver may hold is a Spark setting, as every size of a deployment is."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from schemas.errors import ConfigurationError
from spark_jobs.storage.settle import DRIVER_ROWS, DRIVER_ROWS_SETTING, driver_rows, settle


@pytest.fixture
def limit(spark: SparkSession) -> Iterator[SparkSession]:
    yield spark
    spark.conf.unset(DRIVER_ROWS_SETTING)


@pytest.mark.parametrize(("given", "cached"), [("0", True), ("9", True), ("10", False)])
def test_rows_above_the_limit_stay_with_the_executors(limit, given, cached):
    limit.conf.set(DRIVER_ROWS_SETTING, given)
    rows = settle(limit.range(10).toDF("n"), at_most=10)
    assert rows.is_cached is cached
    assert rows.count() == 10
    rows.unpersist()


def test_without_the_setting_it_is_262_144(limit):
    assert driver_rows(limit) == DRIVER_ROWS == 262_144


@pytest.mark.parametrize("given", ["many", "-1", "1e6"])
def test_what_is_no_number_of_rows_is_refused(limit, given):
    limit.conf.set(DRIVER_ROWS_SETTING, given)
    with pytest.raises(ConfigurationError, match=r"spark\.tenforward\.driverRows = .*Remedy"):
        driver_rows(limit)
