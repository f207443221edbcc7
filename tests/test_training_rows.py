"""Features meet the chosen rows alone, however many tables are wide and however many are chosen."""

from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.refresh.plan import plan_refresh
from spark_jobs.refresh.training_rows import training_rows
from spark_jobs.storage.settle import DRIVER_ROWS_SETTING, letting_go
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED

AS_IF_LARGE = {
    DRIVER_ROWS_SETTING: "0",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.optimizer.runtime.bloomFilter.applicationSideScanSizeThreshold": "0",
}


@pytest.fixture
def as_if_large(loop: dict[str, Any]) -> Iterator[None]:
    """No table is small enough to be sent to every executor."""
    spark = loop["warehouse"].spark  # asked for the first time, it sets what every session has
    before = {name: spark.conf.get(name, None) for name in AS_IF_LARGE}
    for name, value in AS_IF_LARGE.items():
        spark.conf.set(name, value)
    yield
    for name, kept in before.items():
        spark.conf.unset(name) if kept is None else spark.conf.set(name, kept)


def found(warehouse: Warehouse) -> tuple[DataFrame, list[tuple[object, ...]]]:
    """The training rows of the loop's newest sample, and what is in them."""
    plan = plan_refresh(warehouse, LOOPED[1])
    drawn = warehouse.read("sampled").where(F.col("refresh_id") == plan.refresh_id)
    names = ("instance_id", "label", "weight", "offset", "probability", "position")
    wanted = drawn.select(*names, F.lit(True).alias("trains"))
    with letting_go() as keep:
        rows = training_rows(warehouse, plan, wanted, drawn.count(), keep)
        return rows, sorted(map(tuple, rows.drop("segments", "refresh_id").collect()))


@pytest.mark.usefixtures("as_if_large")
def test_many_chosen_ids_keep_the_other_wide_rows_from_the_shuffle(loop):
    rows, _ = found(loop["warehouse"])
    plan = rows._jdf.queryExecution().executedPlan().toString()
    # On the way from the table to the exchange.
    assert 0 < plan.find("might_contain") < plan.find("FileScan parquet"), plan


def test_few_and_many_chosen_ids_give_the_same_rows(loop, request):
    _, few = found(loop["warehouse"])
    request.getfixturevalue("as_if_large")
    _, many = found(loop["warehouse"])
    assert many == few
    assert few
