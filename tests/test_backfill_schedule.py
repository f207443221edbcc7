"""`backfill` obeys `[schedule]` as the DAG does: it scores each day, and selects those due."""

import json
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigurationError
from schemas.manifests import read_manifests
from schemas.pipeline import load_pipeline
from spark_jobs import backfill
from spark_jobs.days.told import line_of, summary_table
from spark_jobs.due import due
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import INGESTED, LOOPED, PIPELINE, copied, twin_of

DAYS = LOOPED[0], LOOPED[1], INGESTED[1]
RANGE = DAYS[0], DAYS[-1]


def scheduled(warehouse: Warehouse, *, policy: str = "uniform", **schedule: Any) -> Warehouse:
    """With a `[schedule]`, and a policy that has no refresh yet unless it is `calibrated`."""
    overrides = {f"schedule.{name}": value for name, value in schedule.items()}
    pipeline = load_pipeline(PIPELINE, overrides | {"selection.policy": policy})
    return Warehouse(warehouse.root, pipeline)


def selected(warehouse: Warehouse) -> dict[date, str]:
    """The digest of each refresh of the policy, by its day."""
    policy = warehouse.pipeline.selection.policy
    made = read_manifests(warehouse.path("refreshes"), policy=policy)
    return {one.ds: one.sample_digest for one in reversed(made)}


def due_days(entries: list[dict[str, Any]]) -> list[date]:
    return [day["ds"] for day in entries if day["due"]["status"] == "due"]


# --- a backfill of every other day ---


@pytest.fixture(scope="module")
def every_other(loop, tmp_path_factory) -> dict[str, Any]:
    """Three days with `days = 2`, two of them scored before: warehouse and entries."""
    warehouse = scheduled(twin_of(loop["warehouse"], tmp_path_factory.mktemp("due")), days=2)
    return {"warehouse": warehouse, "days": backfill.backfill(warehouse, *RANGE)}


@pytest.mark.slow
def test_each_day_is_scored_and_what_is_due_is_selected_and_trained(every_other):
    first, between, last = every_other["days"]
    assert [day["score"]["status"] for day in every_other["days"]] == [
        *("already done", "already done"),
        "done",
    ]
    for day in (first, last):
        assert list(day) == ["ds", "score", "due", "select", "train"]
        assert (day["select"]["status"], day["train"]["status"]) == ("done", "done")
    assert list(between) == ["ds", "score", "due"]
    assert list(selected(every_other["warehouse"])) == [DAYS[0], DAYS[2]]


@pytest.mark.slow
def test_the_entry_of_a_day_has_what_due_answers(every_other):
    between = every_other["days"][1]["due"]
    assert (between["status"], between["reason"]) == ("not due", "1 of 2 days have passed")
    assert between["last_refresh"] == every_other["days"][0]["select"]["refresh_id"]
    warehouse = every_other["warehouse"]
    assert due(warehouse.pipeline, warehouse.root, DAYS[1]) == between


@pytest.mark.slow
def test_line_and_table_show_the_day_between_as_scored_and_not_due(every_other):
    words = [line_of(day) for day in every_other["days"]]
    assert words[1] == "scored before, not due: 1 of 2 days have passed"
    assert "not due" not in words[0] + words[2]
    table = summary_table(every_other["days"])
    assert re.split(r"\s{2,}", table[2]) == [str(DAYS[1]), "done", "-", "-", "-", "not due"]


@pytest.mark.slow
def test_a_repeat_is_already_done_and_makes_no_other_day(every_other):
    warehouse, before = every_other["warehouse"], selected(every_other["warehouse"])
    again = backfill.backfill(warehouse, *RANGE)
    assert backfill.summary("flights", again)["status"] == "already done"
    assert [day["due"]["status"] for day in again] == ["due", "not due", "due"]
    assert selected(warehouse) == before


@pytest.mark.slow
@pytest.mark.nightly
def test_force_makes_anew_what_was_selected_and_no_other_day(every_other):
    warehouse, before = every_other["warehouse"], selected(every_other["warehouse"])
    forced = backfill.backfill(warehouse, *RANGE, only="select", force=True)
    assert [day.get("select", {}).get("status") for day in forced] == ["done", None, "done"]
    assert selected(warehouse) == before


@pytest.mark.slow
@pytest.mark.nightly
def test_the_days_are_those_that_the_tasks_of_the_dag_select(every_other, loop, tmp_path):
    """`score`, `due` and, where it is not skipped, `select`, day by day; no training between."""
    twin = scheduled(twin_of(loop["warehouse"], tmp_path), days=2)
    for ds in DAYS:
        score_day(twin, ds)
        if due(twin.pipeline, twin.root, ds)["status"] == "due":
            select_day(twin, ds)
    assert list(selected(twin)) == list(selected(every_other["warehouse"]))


# --- other ranges, other conditions: days scored before, `--only select` ---


def only_select(warehouse: Warehouse, start: date, end: date) -> list[dict[str, Any]]:
    return backfill.backfill(warehouse, start, end, only="select")


@pytest.mark.slow
@pytest.mark.nightly
def test_an_earlier_start_adds_what_is_due_before_and_leaves_the_rest(loop, tmp_path):
    warehouse = scheduled(copied(loop["warehouse"], tmp_path), days=2)
    assert due_days(only_select(warehouse, DAYS[1], DAYS[2])) == [DAYS[1]]
    before = selected(warehouse)
    longer = only_select(warehouse, *RANGE)
    assert [day.get("select", {}).get("status") for day in longer] == ["done", "already done", None]
    assert selected(warehouse)[DAYS[1]] == before[DAYS[1]]
    assert backfill.summary("flights", only_select(warehouse, *RANGE))["status"] == "already done"
    assert due_days(only_select(warehouse, DAYS[2], DAYS[2])) == []  # nor by a later start
    assert list(selected(warehouse)) == [DAYS[0], DAYS[1]]


@pytest.mark.slow
@pytest.mark.nightly
def test_new_records_are_counted_when_the_day_is_reached(loop, tmp_path):
    warehouse = scheduled(copied(loop["warehouse"], tmp_path), new_records=10**6)
    done = only_select(warehouse, *LOOPED)
    assert due_days(done) == [DAYS[0]]
    new = done[1]["due"]["new_records"]
    assert new > 500
    fewer = scheduled(warehouse, new_records=new)
    assert due_days(only_select(fewer, *LOOPED)) == [*LOOPED]
    assert list(selected(warehouse)) == [*LOOPED]


def test_a_score_alone_and_a_schedule_without_conditions_ask_nothing(loop, monkeypatch):
    monkeypatch.setattr(backfill, "due", None)  # would fail if it were called
    asked = scheduled(loop["warehouse"], policy="calibrated", days=2)
    scored = backfill.backfill(asked, *LOOPED, only="score")
    assert [list(day) for day in scored] == [["ds", "score"]] * 2
    daily = backfill.backfill(loop["warehouse"], *LOOPED)
    assert [list(day) for day in daily] == [["ds", "score", "select", "train"]] * 2


def test_a_day_that_fails_to_be_scored_is_not_asked_about(loop, monkeypatch):
    warehouse = scheduled(loop["warehouse"], days=2)
    monkeypatch.setattr(backfill, "due", None)
    empty = date(2013, 1, 20)
    [day] = backfill.backfill(warehouse, empty, empty, go_on=True)
    assert list(day) == ["ds", "error", "exit_code"]


# --- the plan ---


def planned(warehouse: Warehouse, *span: date, **more: Any) -> list[bool | None]:
    return [day["due"] for day in backfill.plan(warehouse, *(span or RANGE), **more)]


def test_the_plan_foresees_the_days_that_are_due(loop):
    warehouse = scheduled(loop["warehouse"], days=2)
    days = backfill.plan(warehouse, *RANGE)
    assert [day["due"] for day in days] == [True, False, True]
    assert [day["estimated_rows"] > 0 for day in days] == [True, False, True]
    assert planned(loop["warehouse"]) == [True] * 3
    # Both days of the loop have their refresh, so the third is the day after one.
    assert planned(scheduled(loop["warehouse"], policy="calibrated", days=2)) == [True, True, False]


def test_what_the_records_decide_is_left_open_in_the_plan(loop):
    days = backfill.plan(scheduled(loop["warehouse"], new_records=10), *RANGE)
    assert [day["due"] for day in days] == [True, None, None]
    assert all(day["estimated_rows"] > 0 for day in days)  # of one that depends: if it is due
    assert planned(scheduled(loop["warehouse"], days=2, drift=0.1)) == [True, None, None]


def test_a_day_without_instances_is_not_selected_so_that_the_next_is_due(loop):
    """The 10th and later have none: --continue-on-error passes over them, as the DAG fails."""
    warehouse, span = scheduled(loop["warehouse"], days=3), (DAYS[0], date(2013, 1, 12))
    assert planned(warehouse, *span) == [True, False, False, True, True, True]
    assert planned(warehouse, *span, only="select") == [True, False, False, True, False, False]


# --- the command ---


@pytest.fixture
def weekly(tmp_path: Path) -> Path:
    """The pipeline's file with one line more."""
    text = Path(PIPELINE).read_text()
    assert text.count("[schedule]\n") == 1
    file = tmp_path / "flights.toml"
    file.write_text(text.replace("[schedule]\n", "[schedule]\ndays = 7\n"))
    return file


def run(weekly: Path, warehouse: str, *more: str) -> dict[str, Any]:
    span = ["--start", str(RANGE[0]), "--end", str(RANGE[1])]
    return backfill.command(["--pipeline", str(weekly), "--warehouse", warehouse, *span, *more])


def test_a_weekly_refresh_is_one_line(weekly, loop):
    """For the DAG as well: tests/test_dag_copies.py."""
    told = run(weekly, loop["warehouse"].root, "--dry-run", "--policy", "uniform")
    assert [day["due"] for day in told["days"]] == [True, False, False]


@pytest.mark.parametrize(
    ("lines", "second"),
    [
        ("days = 7", "scored, not due, about 0 rows"),
        ("drift = 0.1", "scored, to select if due (decided when it is reached), about"),
    ],
)
def test_the_plan_is_told_in_words(weekly, loop, capfd, lines, second):
    weekly.write_text(weekly.read_text().replace("days = 7", lines))
    where = ["--pipeline", str(weekly), "--warehouse", loop["warehouse"].root]
    span = ["--start", str(RANGE[0]), "--end", str(RANGE[1])]
    assert backfill.main([*where, *span, "--policy", "uniform", "--dry-run"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["days"][0]["due"] is True
    told = [json.loads(line)["message"] for line in err.splitlines() if line.startswith("{")]
    assert f"{DAYS[0]}: " in told[0]
    assert "to select, about" in told[0]
    assert second in told[1]


def test_due_days_are_not_selected_side_by_side(weekly, loop):
    with pytest.raises(
        ConfigurationError,
        match=r"--max-parallel = 2: \[schedule\] has conditions, and .* Remedy: leave it out",
    ):
        run(weekly, loop["warehouse"].root, "--only", "select", "--max-parallel", "2")


@pytest.mark.slow
@pytest.mark.nightly
def test_due_days_are_scored_side_by_side(weekly, loop, tmp_path):
    shutil.copytree(loop["warehouse"].root, tmp_path / "copy")
    told = run(weekly, str(tmp_path / "copy"), "--only", "score", "--max-parallel", "2")
    assert [day["score"]["status"] for day in told["days"]] == [*["already done"] * 2, "done"]


def test_the_log_lines_of_due_are_about_its_day(weekly, loop, capfd):
    where = ["--pipeline", str(weekly), "--warehouse", loop["warehouse"].root, "--json"]
    span = ["--start", str(LOOPED[0]), "--end", str(LOOPED[1])]
    assert backfill.main([*where, *span, "--only", "select"]) == 0
    err = capfd.readouterr().err
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    asked = [line for line in lines if ": due: " in line["message"]]
    assert [line["ds"] for line in asked] == [str(ds) for ds in LOOPED]
