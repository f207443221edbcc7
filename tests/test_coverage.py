"""Coverage: each day's instances that have a record, and its records that have a label."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigurationError
from schemas.pipeline import load_pipeline
from spark_jobs.candidates.coverage import without_label, without_record
from spark_jobs.report.card import render
from spark_jobs.report.checks import checks
from spark_jobs.select_sample import select_day
from tests.helpers import small_warehouse as small
from tests.helpers.card_page import Page
from tests.helpers.flights_loop import PIPELINE, manifest_of

FIRST, SECOND, LAST = small.DAYS
REPORT = {"candidates": 9, "budget": 9, "drawn": 9, "sum_probability": 9.0}
LIMITS = {"coverage": 0.9, "label_coverage": None, "label_delay": None}


def day(
    number: int, recorded: int = 100, labelled: int = 100, *, bootstrapped: bool = False
) -> dict[str, Any]:
    """A day of February with 100 instances."""
    counts = {"instances": 100, "recorded": recorded, "records": recorded, "labelled": labelled}
    return {"day": f"2026-02-{number:02}", **counts, "bootstrapped": bootstrapped}


def test_a_day_whose_instances_have_too_few_records_is_named():
    days = [day(1, 0, 0, bootstrapped=True), day(2, 90, 90), day(3, 89, 89), day(4, 0, 0)]
    found = list(map(str, without_record(days, LIMITS)))
    assert found == ["2026-02-03: 89 of 100", "2026-02-04: 0 of 100"]
    assert without_record(days, LIMITS | {"coverage": 0.0}) == []


@pytest.mark.parametrize(
    ("labelled", "limits", "short"),
    [
        ([100, 100, 40], {}, []),  # the last days' labels are still to come
        ([100, 40, 100], {}, [2]),
        ([0, 50, 100, 0], {}, [1]),
        ([10, 12, 9], {}, []),  # few ever get one
        ([80, 100, 0], {"label_coverage": 0.9}, [1, 3]),
        ([80, 100, 0], {"label_coverage": 0.9, "label_delay": "2d"}, [1]),
    ],
)
def test_a_day_that_lacks_labels_is_one_that_has_fewer_than_it_should(labelled, limits, short):
    days = [day(number, labelled=count) for number, count in enumerate(labelled, 1)]
    found = without_label(days, LIMITS | limits, date(2026, 2, len(days)))
    assert [one.day for one in found] == [f"2026-02-{number:02}" for number in short]


def test_a_missing_day_is_on_the_card_and_the_refresh_is_not_sound(spark, tmp_path):
    asked = small.instances()
    records = [row for row in small.records(asked) if row["event_date"] != SECOND]
    labels = [row for row in small.labels(asked) if row["event_date"] != FIRST]
    warehouse = small.filled(tmp_path, records=records, labels=labels)
    told = select_day(warehouse, LAST)
    assert told["coverage"] == pytest.approx(2 / 3)
    report = manifest_of(warehouse, told["refresh_id"]).report
    counted = [(one["instances"], one["recorded"]) for one in report["coverage"]["days"]]
    assert counted == [(20, 20), (20, 0), (20, 20)]
    found = {check.title: check for check in checks(report)}
    assert found["Coverage"].status == found["Labels"].status == "warning"
    assert f"{SECOND}: 0 of 20; at least 90 %" in found["Coverage"].sentence
    assert f"{FIRST}: 0 of" in found["Labels"].sentence
    words = Page(Path(told["report_card"]).read_text(encoding="utf-8")).words
    assert {"⚠ Look closer", "Coverage by day"} <= set(words)
    lower = report | {"coverage": report["coverage"] | {"limits": LIMITS | {"coverage": 0.0}}}
    assert {one.title: one for one in checks(lower)}["Coverage"].status == "good"
    assert Page(render(report)).open == []


def test_a_view_that_ends_too_early_is_a_warning():
    told = {"view": "shelves", "at": "2026-02-04T00:00:00+00:00", "limit": "1d"}
    for newest, status in (("2026-02-03T01", "good"), ("2026-02-02T01", "warning")):
        found = checks(REPORT | {"freshness": [told | {"newest": f"{newest}:00:00+00:00"}]})
        assert {one.title: one.status for one in found}["Views fresh"] == status


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("coverage = 1.1", "check.coverage"),
        ('label_delay = "2d"', "without label_coverage"),
        ('freshness = { somewhere = "2d" }', "check.freshness.somewhere"),
    ],
)
def test_law_7_limits_that_cannot_be_held_are_refused(tmp_path, section, words):
    (tmp_path / "p.toml").write_text(f"{Path(PIPELINE).read_text()}\n[check]\n{section}\n")
    with pytest.raises(ConfigurationError, match="Remedy") as refused:
        load_pipeline(tmp_path / "p.toml")
    assert words in str(refused.value)


def test_the_limits_do_not_name_another_refresh(tmp_path):
    (tmp_path / "p.toml").write_text(f"{Path(PIPELINE).read_text()}\n[check]\ncoverage = 0.5\n")
    other = load_pipeline(tmp_path / "p.toml")
    assert other.selection_digest() == load_pipeline(PIPELINE).selection_digest()
