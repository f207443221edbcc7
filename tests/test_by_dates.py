"""What the dates of refreshes tell of the days that `[schedule]` makes due: no Spark, no data."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference.plain_tables import create
from schemas.manifests import read_manifests
from schemas.pipeline import Pipeline
from schemas.sections.schedule import Schedule
from schemas.tables import all_tables
from spark_jobs.days.by_dates import Earlier, by_dates, foresee
from spark_jobs.days.planned import days
from spark_jobs.due import due
from spark_jobs.refresh.plan import refresh_id
from tests.helpers.manifests import manifest_without_rows
from tests.helpers.trainer_tables import small_pipeline, write_manifest

FIRST, LAST = date(2013, 2, 1), date(2013, 2, 12)


def pipeline_with(seed: int = 7, **schedule: Any) -> Pipeline:
    small = small_pipeline(selection={"policy": "uniform", "seed": seed})
    return small.model_copy(update={"schedule": Schedule(**schedule)})


def chosen(random: np.random.Generator, count: int, first: date = FIRST) -> list[date]:
    span = (LAST - first).days + 1
    return [first + timedelta(days=int(n)) for n in random.choice(span, count, replace=False)]


# --- one day ---


@pytest.mark.parametrize(
    ("there", "last", "schedule", "verdict", "reason"),
    [
        (True, 1, {"days": 7}, True, "its refresh is there, to be left alone or repeated"),
        (False, None, {"days": 7}, True, "there is no earlier refresh of this policy"),
        (False, 6, {"days": 7}, False, "6 of 7 days have passed"),
        (False, 7, {"days": 7}, True, "7 days since the-last"),
        (False, 7, {"days": 7, "drift": 0.1}, True, "7 days since the-last"),
        (False, 6, {"days": 7, "drift": 0.1}, None, "its records decide"),
        (False, 99, {"new_records": 10}, None, "its records decide"),
    ],
)
def test_dates_decide_or_leave_it_to_the_records(there, last, schedule, verdict, reason):
    before = None if last is None else Earlier(FIRST - timedelta(days=last), "the-last")
    told = by_dates(Schedule(**schedule), FIRST, there=there, last=before)
    assert told == (verdict, reason)


# --- a range ---


def test_without_conditions_every_day_is_foreseen_as_due():
    assert set(foresee(pipeline_with(), [], list(days(FIRST, LAST)), set()).values()) == {True}


def test_a_weekly_refresh_is_due_every_seventh_day():
    wanted = list(days(FIRST, FIRST + timedelta(days=27)))
    foreseen = foresee(pipeline_with(days=7), [], wanted, set())
    assert [ds.day for ds, is_due in foreseen.items() if is_due] == [1, 8, 15, 22]
    assert set(foreseen.values()) == {True, False}


@pytest.mark.parametrize("seed", range(6))
def test_what_is_foreseen_of_days_is_what_due_says_as_the_days_come(seed, tmp_path):
    """Whatever refreshes there are already: of another configuration, policy, within or before."""
    random = np.random.default_rng(seed)
    pipeline = pipeline_with(days=int(random.integers(2, 6)))
    other = small_pipeline(selection={"policy": "obftf"})
    for table in all_tables(pipeline).values():
        create(tmp_path, table)
    for made_by in (pipeline, pipeline_with(seed=8), other):
        for ds in chosen(random, 2, FIRST - timedelta(days=4)):
            write_manifest(tmp_path, manifest_without_rows(made_by, ds))
    missed = set(chosen(random, 2))
    there = read_manifests(str(tmp_path / "refreshes"))
    foreseen = foresee(pipeline, there, list(days(FIRST, LAST)), missed)
    for ds, is_due in foreseen.items():
        assert due(pipeline, str(tmp_path), ds)["status"] == ("due" if is_due else "not due"), ds
        if is_due and ds not in missed and refresh_id(pipeline, ds) not in names(tmp_path):
            write_manifest(tmp_path, manifest_without_rows(pipeline, ds))


def names(root: Path) -> set[str]:
    return {one.refresh_id for one in read_manifests(str(root / "refreshes"))}


@pytest.mark.parametrize("seed", range(20))
def test_what_is_foreseen_holds_whatever_the_records_decide(seed):
    random = np.random.default_rng(seed)
    conditions: list[dict[str, Any]] = [{"days": 4}, {"days": 4, "drift": 0.1}, {"new_records": 9}]
    pipeline = pipeline_with(**conditions[seed % 3])
    there = [manifest_without_rows(pipeline, ds) for ds in chosen(random, seed % 4)]
    wanted = list(days(FIRST, LAST))
    foreseen = foresee(pipeline, there, wanted, set())
    made = {one.ds for one in there}
    for ds in wanted:
        last = max((one for one in made if one < ds), default=None)
        verdict, _ = by_dates(
            pipeline.schedule, ds, there=ds in made, last=last and Earlier(last, str(last))
        )
        if foreseen[ds] is not None:
            assert verdict is foreseen[ds]
        if verdict is None:
            verdict = bool(random.integers(2))  # what the records would say
        if verdict:
            made.add(ds)
