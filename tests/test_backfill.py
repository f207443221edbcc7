"""The backfill command: days side by side where they are independent, a table, a real Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from schemas.errors import ConfigurationError
from schemas.manifests import read_manifests
from schemas.pipeline import load_pipeline
from spark_jobs import backfill
from spark_jobs.days.told import summary_table
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE, copied, twin_of

RANGE = ["--start", str(LOOPED[0]), "--end", str(LOOPED[1])]


# --- side by side ---


def test_days_side_by_side_draw_what_days_in_turn_draw(loop, tmp_path):
    """The loop drew its days in turn; a limit that refuses none of them gives them other names."""
    pipeline = load_pipeline(PIPELINE, {"selection.max_reject_share": 0.02})
    warehouse = Warehouse(copied(loop["warehouse"], tmp_path).root, pipeline)
    done = backfill.backfill(warehouse, *LOOPED, only="select", parallel=2)
    assert [(day["ds"], day["select"]["status"]) for day in done] == [(d, "done") for d in LOOPED]
    digests = ([day["select"]["sample_digest"] for day in days] for days in (done, loop["days"]))
    assert next(digests) == next(digests)


def test_law_6_a_day_in_one_session_is_what_its_two_tasks_make_of_it(loop, tmp_path):
    one, two = (twin_of(loop["warehouse"], tmp_path / name) for name in ("one", "two"))
    newest = LOOPED[1] + timedelta(days=1)
    line = ["--pipeline", PIPELINE, "--warehouse", one.root, "--only", "score,select"]
    told = backfill.command([*line, "--start", str(newest), "--end", str(newest)])
    [day] = told["days"]
    scored, selected = score_day(two, newest), select_day(two, newest)
    assert told["status"] == "done"
    assert [*day] == ["ds", "score", "select"]
    assert day["score"]["records"] == scored["records"]
    assert day["select"]["sample_digest"] == selected["sample_digest"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["--only", "score,select"], "selected from the days that were scored before it"),
        ([], "scored by the champion that the training of the day before left"),
        (["--only", "train"], "scored by the champion"),
        (["--only", "select", "--policy", "mixture"], "takes its weights from the refresh before"),
    ],
)
def test_days_that_need_the_day_before_are_not_run_side_by_side(line, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        backfill.command(["--pipeline", PIPELINE, *RANGE, "--max-parallel", "2", *line])


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_the_number_of_days_at_a_time_is_at_least_one(number, capsys):
    with pytest.raises(SystemExit):
        backfill.command(["--pipeline", PIPELINE, *RANGE, "--max-parallel", number])
    assert "is not a whole number of at least 1" in capsys.readouterr().err


def test_after_a_failure_no_further_day_begins(loop, monkeypatch):
    began = []

    def fails(warehouse: Warehouse, ds: date) -> dict[str, Any]:
        began.append(ds)
        time.sleep(0.2)
        raise ConfigurationError("no.")

    monkeypatch.setattr(backfill, "STEPS", {"select": fails})
    with pytest.raises(ConfigurationError, match=r"select: no\. What had finished stays"):
        backfill.backfill(loop["warehouse"], date(2013, 1, 1), date(2013, 1, 9), parallel=2)
    assert len(began) <= 4


# --- the table ---


def test_the_table_has_a_line_a_day():
    done = [
        {
            "ds": date(2013, 1, 7),
            "score": {"status": "done", "records": 828},
            "select": {"status": "done", "candidates": 760, "drawn": 76},
            "train": {"status": "done", "version": "2", "promoted": True},
        },
        {"ds": date(2013, 1, 8), "select": {"status": "already done", "candidates": 9, "drawn": 1}},
        {"ds": date(2013, 1, 9), "score": {"status": "already done"}, "error": "no disk."},
    ]
    assert "\n".join(summary_table(done)) == (
        "day            scored  candidates      drawn    model  gate\n"
        "2013-01-07        828         760         76        2  promoted\n"
        "2013-01-08          -           9          1        -  -\n"
        "2013-01-09       done           -          -        -  no disk."
    )


# --- a real Ctrl-C ---


@pytest.mark.slow
@pytest.mark.nightly
def test_ctrl_c_leaves_whole_refreshes_and_a_repeat_by_spark_submit_goes_on(loop, tmp_path):
    warehouse = copied(loop["warehouse"], tmp_path)
    line = ["--pipeline", PIPELINE, "--warehouse", warehouse.root, *RANGE]
    line += ["--only", "select", "--policy", "uniform"]
    bin_ = Path(sys.executable).parent
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [bin_ / "tenforward", "backfill", *line],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        while "(1/2" not in log.read_text():  # the first day is done: the second one has begun
            assert process.poll() is None, log.read_text()
            time.sleep(0.02)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the JVM as well
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, log.read_text()
    assert json.loads(out) == {"status": "interrupted", "exit_code": 130}
    assert whole(warehouse) == [LOOPED[0]]

    assert subprocess.run(["make", "zip"], capture_output=True).returncode == 0
    spark = [bin_ / "spark-submit", "--master", "local[1]", "--py-files", "dist/tenforward.zip"]
    again = subprocess.run(
        [*spark, "spark_jobs/backfill.py", *line], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr[-3000:]
    days = json.loads(again.stdout.splitlines()[-1])["days"]
    assert [day["select"]["status"] for day in days] == ["already done", "done"]
    assert whole(warehouse) == list(LOOPED)


def whole(warehouse: Warehouse) -> list[date]:
    """The days of the uniform refreshes, each of which has the rows that its manifest says."""
    made = read_manifests(warehouse.path("refreshes"), policy="uniform")
    for manifest in made:
        own, counts = F.col("refresh_id") == manifest.refresh_id, manifest.counts
        assert warehouse.read("sampled").where(own).count() == counts.drawn
        assert warehouse.read("selection_probabilities").where(own).count() == counts.candidates
    return sorted(manifest.ds for manifest in made)
