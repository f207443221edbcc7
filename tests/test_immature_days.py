"""Days whose labels have not matured: a backfill passes over them, says how many, goes on."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from spark_jobs import backfill
from spark_jobs.days.told import line_of, summary_table
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small

DAYS = tuple(date(2026, 2, 1) + timedelta(days=number) for number in range(4))
LATE = timedelta(days=2)  # a label becomes known so long after the event


def late(folder: Path) -> Warehouse:
    """Four days whose labels come two days late; a refresh draws from a week."""
    asked = small.instances(DAYS)
    labels = [row | {"known_at": row["known_at"] + LATE} for row in small.labels(asked)]
    selection = {"window_days": 7, "budget": 0.5, "policy": "grad-norm"}
    pipeline = small.pipeline(selection=selection)
    return small.filled(folder, pipeline, instances=asked, labels=labels)


def command(warehouse: Warehouse, start: date, end: date) -> dict[str, Any]:
    done = backfill.backfill(warehouse, start, end, only="select")
    return backfill.summary(warehouse.pipeline.name, done)


@pytest.fixture(scope="module")
def told(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return command(late(tmp_path_factory.mktemp("late")), DAYS[0], DAYS[2])


def test_a_day_without_a_matured_label_is_passed_over_and_the_next_is_selected(told) -> None:
    assert [day["select"]["status"] for day in told["days"]] == [
        *("passed over", "passed over"),
        "done",
    ]
    assert (told["status"], told["passed_over"]) == ("done", 2)
    assert told["days"][2]["select"]["candidates"] > 0


def test_line_and_table_name_the_day_and_why(told) -> None:
    first = told["days"][0]
    assert line_of(first).startswith("passed over: no candidates: no record in the window has a")
    assert [line.split("  ")[-1] for line in summary_table(told["days"])[1:]] == [
        *("passed over", "passed over"),
        "-",
    ]


def test_a_range_in_which_nothing_can_be_selected_ends_with_3_and_says_why() -> None:
    days = [
        {"ds": ds, "select": {"status": "passed over", "reason": f"no candidates on {ds}. Remedy:"}}
        for ds in DAYS[:2]
    ]
    told = backfill.summary("shops", days)
    assert (told["status"], told["exit_code"], told["passed_over"]) == ("failed", 3, 2)
    assert told["error"].startswith("2 of 2 days passed over")
    assert "no candidates on 2026-02-01. Remedy:" in told["error"]


@pytest.mark.parametrize("status", ["done", "already done"])
def test_one_refresh_in_the_range_is_enough(status: str) -> None:
    days = [
        {"ds": DAYS[0], "select": {"status": "passed over", "reason": "none."}},
        {"ds": DAYS[1], "select": {"status": status}},
    ]
    told = backfill.summary("shops", days)
    assert told["status"] == status
    assert "exit_code" not in told


@pytest.mark.slow
@pytest.mark.nightly
def test_a_window_without_a_record_is_passed_over_too(spark: SparkSession, tmp_path: Path) -> None:
    asked = small.instances(DAYS[:2])
    selection = {"window_days": 1, "budget": 0.5, "policy": "grad-norm"}
    warehouse = small.filled(
        tmp_path,
        small.pipeline(selection=selection),
        instances=asked,
        records=small.records(small.instances([DAYS[1]])),
    )
    told = command(warehouse, DAYS[0], DAYS[1])
    assert [day["select"]["status"] for day in told["days"]] == ["passed over", "done"]
    assert "no forward records from 2026-02-01" in told["days"][0]["select"]["reason"]
