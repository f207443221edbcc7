"""`make up` and `make down`: one machine's Airflow, its pages, and a clean end."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from datetime import date
from pathlib import Path

import psutil
import pytest

from demo.up import START, following
from spark_jobs.days.answered import answered_days, states

NEXT = date(2013, 1, 9)


def run_of(day: int, state: str) -> dict[str, str]:
    return {"logical_date": f"2013-02-{day:02}T00:00:00Z", "state": state}


def test_a_day_that_was_not_due_is_followed_by_the_next() -> None:
    refreshed = date(2013, 2, 3)
    assert following(None, []) == START
    assert following(refreshed, []) == date(2013, 2, 4)
    assert following(refreshed, [run_of(3, "success"), run_of(4, "success")]) == date(2013, 2, 5)
    assert following(refreshed, [run_of(4, "success"), run_of(5, "failed")]) == date(2013, 2, 5)
    assert following(date(2013, 3, 24), [run_of(4, "success")]) == date(2013, 3, 25)


def command_lines(place: Path) -> list[str]:
    """Of the processes that have to do with a folder."""
    lines = []
    for process in psutil.process_iter():
        try:
            there = str(place) in process.environ().get("AIRFLOW_HOME", "")
            line = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # ended meanwhile, or somebody else's
        if process.pid != os.getpid() and (there or str(place) in line):
            lines.append(line)
    return lines


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; one that its parent has not taken note of has."""
    return [one for one in processes if one.is_running() and one.status() != "zombie"]


@pytest.mark.slow
@pytest.mark.parametrize("until", ["it begins", "the first model is made", "Spark runs"])
def test_down_in_the_first_minutes_leaves_nothing_behind(tmp_path, until):
    line = [sys.executable, "-m", "demo.up", "--folder", str(tmp_path / "airflow")]
    with (tmp_path / "up.log").open("w") as log:
        up = subprocess.Popen([*line, "--warehouse", str(tmp_path / "w")], stderr=log)
    family: list[psutil.Process] = []
    wanted = {"it begins": 0, "the first model is made": 1, "Spark runs": 2}[until]
    while len(family) < wanted:
        assert up.poll() is None, (tmp_path / "up.log").read_text()
        family = psutil.Process(up.pid).children(recursive=True)
        time.sleep(0.1)
    down = subprocess.run([*line, "--down"], check=False)
    assert down.returncode == 0
    assert up.wait(10) in (0, -signal.SIGTERM)  # the latter while it is only importing
    assert alive(family) == []
    assert not (tmp_path / "airflow" / "airflow.db").exists()


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.airflow
def test_the_next_day_begins_and_its_running_task_ends_before_all_is_down(twin, tmp_path):
    folder = tmp_path / "airflow"
    line = [sys.executable, "-m", "demo.up", "--folder", str(folder)]
    here = ["--warehouse", twin.root, "--every", "3", "--last", str(NEXT)]
    with (tmp_path / "up.log").open("w") as log:
        up = subprocess.Popen([*line, *here], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert up.stdout is not None
        said = dict(up.stdout.readline().rsplit(maxsplit=1) for _ in range(3))
        assert list(said) == ["Airflow", "MLflow", "report cards"]
        for address in said.values():
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert answer.status == 200
        while not any("score.py" in one for one in command_lines(folder)):
            assert up.poll() is None, (tmp_path / "up.log").read_text()
            time.sleep(0.5)
    finally:
        down = subprocess.run([*line, "--down"], check=False)
    assert (down.returncode, up.wait(60)) == (0, 0)
    assert command_lines(folder) == []
    with closing(sqlite3.connect(folder / "airflow.db")) as database:
        tasks = dict(database.execute("SELECT task_id, state FROM task_instance"))
    assert tasks["score"] == "success"
    assert answered_days(twin, [NEXT], states(twin)) == {NEXT}
