"""What selection counts in its own pass is what Spark SQL counts in several."""

from datetime import timedelta

import numpy as np
import pytest

from reference.slow_census import census
from spark_jobs.blocks import spark_blocks
from spark_jobs.blocks.spark_blocks import SparkBlocks
from spark_jobs.candidates.narrow import narrow
from spark_jobs.candidates.window import window_of
from spark_jobs.refresh.plan import plan_refresh
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small

LAST = small.DAYS[-1]


@pytest.fixture(scope="module")
def warehouse(spark, tmp_path_factory) -> Warehouse:
    """Tables from which rows are missing at random, and of which some are of another time."""
    random = np.random.default_rng(3)
    rows = small.instances(count=80)

    def some(share: float, of: list[small.Row]) -> list[small.Row]:
        return [row for row in of if random.random() < share]

    records, labels = some(0.7, small.records(rows)), some(0.8, small.labels(rows))
    for row in some(0.1, records):
        row["event_time"] += timedelta(hours=-5)
    for row in some(0.1, labels):
        row["event_date"] += timedelta(days=1 if row["event_date"] < LAST else -1)
    for row in some(0.1, labels):
        row["known_at"] -= timedelta(hours=3)
    instances = some(0.9, rows)
    instances += some(0.1, instances)
    pipeline = small.pipeline(selection={"window_days": 3, "forward_days": 1})
    tables = {"instances": instances, "records": records, "labels": labels}
    return small.filled(tmp_path_factory.mktemp("census"), pipeline, **tables)


@pytest.mark.parametrize("shards", [0, 2])
def test_the_census_is_that_of_spark_sql(warehouse, monkeypatch, shards):
    monkeypatch.setattr(spark_blocks, "shard_bits", lambda rows: shards)
    plan = plan_refresh(warehouse, LAST)
    window = window_of(warehouse, plan, None)
    tables, rules = (window.asked.records, window.labels), window.rules
    rows = narrow(*tables, plan.cut, sketch=False, rules=rules, asked=window.asked)
    found = SparkBlocks(rows, 1000, plan.seed, None)
    told = found.counts.census
    assert told is not None
    wanted = census(window.asked.instances, window.records, window.asked.records, window.labels)
    assert found.counts.rejects == {"no-instance": wanted.orphans}
    days = {str(np.datetime64(day, "D")): (one[0], one[1]) for day, one in told.days.items()}
    assert days == wanted.days
    repeated = told.found["repeated-instance"].rows
    assert {kind: told.found[kind].rows for kind in wanted.found} == wanted.found
    assert repeated == told.rows["instances"] - sum(one.instances for one in told.days.values())
    assert min(wanted.found.values()) > 3
    assert sum(one.records for one in told.days.values()) >= found.count
    assert sum(one.labelled for one in told.days.values()) == found.count
    found.close()
