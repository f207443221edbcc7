"""Dates and times that disagree: rows that are refused, and a refresh that is."""

from datetime import timedelta
from pathlib import Path

import pytest

from schemas import findings
from schemas.errors import DataQualityError
from spark_jobs.select_sample import select_day
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import manifest_of, versions

FIRST, SECOND, LAST = small.DAYS
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def local_time(rows: list[small.Row], *columns: str, hours: int = -5) -> list[small.Row]:
    """The rows with times of five hours behind written as if they were UTC."""
    return [{**row, **{name: row[name] + hours * HOUR for name in columns}} for row in rows]


ASKED = small.instances()
TABLES = {
    findings.INSTANCE_DATE: {
        "instances": [{**one, "event_date": LAST} for one in ASKED],
        "records": small.records(ASKED),
        "labels": small.labels(ASKED),
    },
    findings.LABEL_DATE: {
        "labels": [{**one, "event_date": LAST} for one in small.labels(ASKED)],
    },
    findings.LABEL_EARLY: {"labels": local_time(small.labels(ASKED), "known_at")},
    findings.RECORD_TIME: {"records": local_time(small.records(ASKED), "event_time")},
}


@pytest.mark.parametrize("kind", TABLES)
def test_law_7_times_of_a_whole_table_that_are_wrong_refuse_the_refresh(spark, tmp_path, kind):
    warehouse = small.filled(tmp_path, **TABLES[kind])
    before = versions(warehouse)
    with pytest.raises(DataQualityError, match=r"--ds = 2026-02-03, table .* Remedy") as refused:
        select_day(warehouse, LAST)
    assert refused.value.details["finding"] == kind
    assert refused.value.details["count"] >= 40
    assert versions(warehouse) == before
    if kind == findings.RECORD_TIME:
        assert "of them by -5 hours" in str(refused.value)


def test_a_few_are_told_on_the_card_and_wrongly_dated_records_are_rejects(spark, tmp_path):
    records, labels = small.records(ASKED), small.labels(ASKED)
    drawn_from = [row for row in records if row["instance_id"] == f"{FIRST}/5"]
    for row in drawn_from:
        row["event_date"] = SECOND
    labels[1] |= {"event_date": SECOND}
    pipeline = small.pipeline(selection={"window_days": 3, "max_reject_share": 0.05})
    warehouse = small.filled(tmp_path, pipeline, records=records, labels=labels)
    told = select_day(warehouse, LAST)
    assert told["rejects"] == {"wrong-date": 1}
    assert told["data"] == {findings.LABEL_DATE: {"rows": 1, "ids": [f"{FIRST}/1"]}}
    card = Path(told["report_card"]).read_text(encoding="utf-8")
    assert "⚠ Look closer" in card
    assert "1 labels whose event_date is not that of their instance" in card
    assert manifest_of(warehouse, told["refresh_id"]).counts.rejected == 1
