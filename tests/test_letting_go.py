"""Days in one session leave nothing in Spark's cache, whatever became of them: a backfill of a year
is one session."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from schemas.errors import DataQualityError
from spark_jobs.backfill import backfill
from spark_jobs.blocks.spark_blocks import SparkBlocks
from spark_jobs.bootstrap import bootstrap
from spark_jobs.refresh import write
from spark_jobs.storage.settle import DRIVER_ROWS_SETTING, letting_go
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LEARNT

NEXT = date(2013, 1, 9)


@pytest.fixture
def session(spark: SparkSession) -> Iterator[SparkSession]:
    """With nothing in its cache, and no row for the driver."""
    spark.catalog.clearCache()
    spark.conf.set(DRIVER_ROWS_SETTING, "0")
    yield spark
    spark.conf.unset(DRIVER_ROWS_SETTING)


def nothing_is_cached(spark: SparkSession) -> bool:
    return bool(spark._jsparkSession.sharedState().cacheManager().isEmpty())


def fails(*_: Any) -> None:
    raise DataQualityError("the disk is full")


def test_at_the_end_nothing_is_cached_and_the_last_goes_first(session: SparkSession) -> None:
    with pytest.raises(DataQualityError), letting_go() as keep:  # noqa: PT012
        first = keep(session.range(5).persist())
        keep(first.where("id > 1").persist()).count()
        assert not nothing_is_cached(session)
        fails()
    assert nothing_is_cached(session)


def test_a_day_that_was_scored_and_selected_leaves_nothing_cached(
    session: SparkSession, twin: Warehouse
) -> None:
    for only in ("score", "select"):
        [done] = backfill(twin, NEXT, NEXT, only=only)
        assert done[only]["status"] == "done", done
        assert nothing_is_cached(session), only


def test_a_day_that_fails_and_a_first_refresh_that_does_leave_nothing_either(
    session: SparkSession, twin: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_write_tables", fails)
    [told] = backfill(twin, NEXT, NEXT, only="select", force=True, go_on=True)
    assert "the disk is full" in told["error"]
    assert nothing_is_cached(session)
    with pytest.raises(DataQualityError, match="the disk is full"):
        bootstrap(twin, *LEARNT, force=True)
    assert nothing_is_cached(session)


def test_blocks_that_cannot_be_gathered_are_not_kept(session: SparkSession) -> None:
    rows: DataFrame = session.range(5).selectExpr("CAST(id AS STRING) AS instance_id")
    with pytest.raises(Exception, match="fault"):  # a column that is not there, in the task
        SparkBlocks(rows, 5, seed=1, provisional=None)
    assert nothing_is_cached(session)
