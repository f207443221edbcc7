"""The same instance twice: rows that say the same are one, rows that differ are refused by id."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.errors import DataQualityError
from spark_jobs.select_sample import select_day
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import manifest_of, versions

LAST, ID = small.DAYS[-1], "2026-02-01/3"
RUNBOOK = Path("docs/runbook.md")


def recipe() -> str:
    """The statement of the run book that deletes a row, without what the shell needs."""
    found = re.search(r"sql\('(DELETE .*?)'\)\"", RUNBOOK.read_text(encoding="utf-8"))
    assert found is not None
    return found[1].replace("\\", "")


@pytest.mark.slow
@pytest.mark.nightly
def test_rows_that_say_the_same_are_one(spark, tmp_path):
    once = small.instances()
    sound = select_day(small.filled(tmp_path / "once"), LAST)
    twice = small.filled(
        tmp_path / "twice",
        instances=[*once, *once[:20], *once[40:44]],
        records=small.records(once),
        labels=small.labels(once),
    )
    told = select_day(twice, LAST)
    for name in ("sample_digest", "candidates", "drawn", "held_out"):
        assert told[name] == sound[name], name
    report = manifest_of(twice, told["refresh_id"]).report
    assert report["data"]["repeated-instance"]["rows"] == 24
    assert [day["instances"] for day in report["coverage"]["days"]] == [20, 20, 20]


@pytest.mark.parametrize("days", [0, 1])
def test_law_7_rows_that_differ_are_refused_by_id_and_nothing_is_written(spark, tmp_path, days):
    """On one day, and with an id that is used again on another."""
    rows = small.instances()
    other = {
        **rows[3],
        "price": -1.0,
        "event_time": rows[3]["event_time"] + timedelta(days=days),
        "event_date": small.DAYS[days],
    }
    warehouse = small.filled(
        tmp_path,
        instances=[*rows, other],
        records=small.records(rows),
        labels=small.labels(rows),
    )
    before = versions(warehouse)
    with pytest.raises(DataQualityError, match="2026-02-01/3: 1 ids") as refused:
        select_day(warehouse, LAST)
    assert refused.value.details == {"instances": ["2026-02-01/3"], "count": 1}
    assert f"{days} of them at several event times" in str(refused.value)
    assert versions(warehouse) == before
    assert f"DELETE FROM delta.`{warehouse.path('instances')}`" in str(refused.value)
    if days:  # what the run book says
        moment = other["event_time"].isoformat()
        statement = recipe().replace("ID", ID).replace("TIME", moment)
        spark.sql(statement.replace("$W", warehouse.root))
        assert select_day(warehouse, LAST)["status"] == "done"
