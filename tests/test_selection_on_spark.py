"""The Spark job and `draw` select the same rows, however Spark lays them out (law 1)."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from spark_jobs import spark_blocks
from spark_jobs.selection import blocks
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.engine import Selection, select
from spark_jobs.selection.policies import policy_for
from spark_jobs.spark_blocks import select_from
from tests.logged_records import binary_records

SEED = 7


@pytest.fixture(scope="module")
def records() -> pa.Table:
    table = binary_records(3000)
    moment = pa.array([datetime(2013, 2, 1, tzinfo=UTC)] * 3000, pa.timestamp("us", tz="UTC"))
    return table.append_column("event_time", moment).append_column(
        "model_version", pa.array(["1"] * 3000)
    )


def on_spark(spark: SparkSession, records: pa.Table, policy: str, partitions: int) -> Selection:
    frame = spark.createDataFrame(records).repartition(partitions)
    return select_from(frame, policy_for(policy, "binary"), 0.1, SEED, "binary")


def by_id(rows: pa.Table) -> list[dict]:
    columns = ["instance_id", "score", "probability", "drawn", "weight", "offset", "position"]
    return rows.select(columns).sort_by("instance_id").to_pylist()


@pytest.fixture
def many_blocks(monkeypatch) -> None:
    """Eight blocks of some 375 rows, none of them on the driver."""
    for module in (blocks, spark_blocks):
        monkeypatch.setattr(module, "block_bits", lambda count: 3)
    monkeypatch.setattr(spark_blocks, "DRIVER_ROWS", 0)


@pytest.mark.usefixtures("many_blocks")
@pytest.mark.parametrize("policy", ["obftf", "calibrated"])
def test_law_1_spark_draws_what_draw_draws(spark, records, policy):
    here = select(ArrowBlocks(records, SEED), policy_for(policy, "binary"), 0.1, SEED, "binary")
    there = on_spark(spark, records, policy, partitions=7)
    assert there.digest == here.digest
    assert there.report == here.report
    assert by_id(there.rows.toArrow()) == by_id(here.rows)


def test_law_1_few_rows_on_the_driver_draw_the_same(spark, records):
    expected = select(
        ArrowBlocks(records, SEED), policy_for("calibrated", "binary"), 0.1, SEED, "binary"
    )
    few = on_spark(spark, records, "calibrated", partitions=7)
    assert few.digest == expected.digest
    assert by_id(few.rows.toArrow()) == by_id(expected.rows)


@pytest.mark.usefixtures("many_blocks")
@pytest.mark.parametrize(("partitions", "batch"), [(1, 100_000), (64, 100)])
def test_law_1_partitions_and_batches_do_not_change_the_sample(spark, records, partitions, batch):
    expected = select(
        ArrowBlocks(records, SEED), policy_for("calibrated", "binary"), 0.1, SEED, "binary"
    )
    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", batch)
    try:
        assert on_spark(spark, records, "calibrated", partitions).digest == expected.digest
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", before)
