"""`[schedule]`: what the file may say, and when a day is due."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from pyspark.sql import functions as F

from schemas.pipeline import load_pipeline
from schemas.sections.schedule import Schedule
from spark_jobs import due
from spark_jobs.days.newly_matured import newly_matured
from tests.helpers.flights_loop import LOOPED, PIPELINE, copied, manifest_of

DS = LOOPED[1]


# --- what the file may say ---


@pytest.mark.parametrize("cron", ["0 0 * * *", "30 3 * * *", "59 23 * * *"])
def test_a_run_a_day_is_a_schedule(cron):
    assert not Schedule(cron=cron).conditional


@pytest.mark.parametrize(
    "cron", ["", "@daily", "* * * * *", "0 24 * * *", "0 0 * * 1", "0 */2 * * *"]
)
def test_any_other_rhythm_is_refused(cron):
    with pytest.raises(ValidationError, match="a run is a day"):
        Schedule(cron=cron)


@pytest.mark.parametrize(
    "one",
    [
        *({"days": 7}, {"new_records": 1000}, {"drift": 0.1}),
        *({"max_loss": 0.5}, {"max_calibration_gap": 0.1}),
    ],
)
def test_each_condition_alone_makes_a_schedule_conditional(one):
    assert Schedule(**one).conditional


@pytest.mark.parametrize("bad", [{"days": 0}, {"new_records": 0}, {"drift": 0.0}, {"weeks": 1}])
def test_conditions_that_say_nothing_are_refused(bad):
    with pytest.raises(ValidationError):
        Schedule(**bad)


def test_the_schedule_is_no_part_of_what_decides_a_sample():
    plain = load_pipeline(PIPELINE)
    other = load_pipeline(PIPELINE, {"schedule.drift": 0.2})
    assert plain.selection_digest() == other.selection_digest()


# --- when a day is due ---


def asked(loop: dict[str, Any], ds: date = DS, *, seed: int = 7, **schedule: Any) -> dict[str, Any]:
    """`due` of a day, for a refresh that differs from those of the loop unless the seed is 7."""
    overrides = {f"schedule.{name}": value for name, value in schedule.items()}
    pipeline = load_pipeline(PIPELINE, overrides | {"selection.seed": seed})
    return due.due(pipeline, loop["warehouse"].root, ds)


def test_without_conditions_every_day_is_due(loop):
    assert asked(loop, seed=8)["status"] == "due"


def test_a_day_with_a_refresh_and_the_first_day_of_all_are_due(loop):
    assert "its refresh is there" in asked(loop, days=5)["reason"]
    assert "no earlier refresh" in asked(loop, LOOPED[0], seed=8, days=5)["reason"]


@pytest.mark.parametrize(("days", "status"), [(1, "due"), (2, "not due")])
def test_days_are_counted_from_the_last_refresh(loop, days, status):
    told = asked(loop, seed=8, days=days)
    assert (told["status"], told["days"]) == (status, 1)
    assert told["last_refresh"] == loop["days"][0]["select"]["refresh_id"]


def newly_known(loop: dict[str, Any]) -> int:
    """By Spark: instances with a record whose label came between the cuts of the two days."""
    warehouse = loop["warehouse"]
    cut = datetime(DS.year, DS.month, DS.day, tzinfo=UTC)
    known = warehouse.read("labels").where(
        (F.col("known_at") > F.lit(cut)) & (F.col("known_at") <= F.lit(cut + timedelta(days=1)))
    )
    records = warehouse.read("forward_records").select("instance_id").distinct()
    return records.join(known, "instance_id", "left_semi").count()


def test_new_records_are_those_whose_label_came_since_the_last_cut(loop):
    new = newly_known(loop)
    assert new > 500
    assert asked(loop, seed=8, new_records=new)["status"] == "due"
    told = asked(loop, seed=8, new_records=new + 1)
    assert (told["status"], told["new_records"]) == ("not due", new)


def test_drift_compares_the_new_losses_with_those_of_the_last_refresh(loop):
    told = asked(loop, seed=8, drift=50.0)
    assert told["status"] == "not due"
    assert 0 < told["drift"] < 5
    assert asked(loop, seed=8, drift=told["drift"])["status"] == "due"


def test_the_first_condition_that_is_reached_decides(loop):
    told = asked(loop, seed=8, days=30, new_records=10**9, drift=1e-9)
    assert told["status"] == "due"
    assert told["reason"].startswith("drift")


@pytest.mark.parametrize("maturity", ["delay", "window"])
def test_labels_that_must_wait_are_new_when_they_have_waited(loop, tmp_path, maturity):
    """With a wait of a day, what matures on the 8th are the flights of the day before."""
    rule = {"labels.maturity": maturity, "labels.after": "1d"}
    warehouse = copied(loop["warehouse"], tmp_path)
    waiting = load_pipeline(PIPELINE, rule)
    cut = datetime(DS.year, DS.month, DS.day, tzinfo=UTC)
    new = newly_matured(waiting, warehouse.root, LOOPED[0], DS)
    old_enough = F.col("event_time").between(  # to the microsecond, not to the day
        F.lit(cut - timedelta(days=1, microseconds=-1)), F.lit(cut)
    )
    first = warehouse.read("forward_records").where(old_enough)
    labels = warehouse.read("labels").select("instance_id", "late", "known_at")
    joined = first.join(labels, "instance_id", "left")
    end = F.lit(cut + timedelta(days=1))
    known = joined.where(F.col("known_at") <= end).count()
    expected = known if maturity == "delay" else joined.count()  # without a label: a negative
    assert new.size == expected > 500


def test_the_manifest_holds_the_losses_to_compare_with(loop):
    manifest = manifest_of(loop["warehouse"], loop["days"][0]["select"]["refresh_id"])
    held = manifest.report["loss_distribution"]
    assert len(held["shares"]) == len(held["edges"]) + 1 == 10
    assert sum(held["shares"]) == pytest.approx(1)


def test_the_command_answers_in_json(loop, capfd):
    where = ["--pipeline", PIPELINE, "--warehouse", loop["warehouse"].root, "--ds", str(DS)]
    assert due.main(where) == 0
    assert json.loads(capfd.readouterr().out)["status"] == "due"
