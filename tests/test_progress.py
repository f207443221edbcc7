"""Long steps say what they are doing, with counts, on standard error; short ones say nothing."""

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas import progress
from schemas.command import run_command
from schemas.log import about, configure_logging, log
from schemas.progress import step, told

SOON = 0.02  # seconds between lines, in place of ten


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def err(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging()
    yield stream
    monkeypatch.undo()
    configure_logging()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging()
    yield stream
    monkeypatch.undo()
    configure_logging()


@pytest.fixture(autouse=True)
def nobody_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_joined", [])


def until(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.005)


def lines(err: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in err.getvalue().splitlines()]


def test_a_long_step_is_told_with_counts_and_what_it_lies_in(err: io.StringIO) -> None:
    with told("working", SOON), step("select 2013-02-01"), step("reading", 9000) as read:
        read.add(1200)
        until(lambda: len(err.getvalue().splitlines()) >= 2)
    first = lines(err)[0]["message"]
    assert first.startswith("select 2013-02-01: reading, 1,200 of 9,000 rows, ")
    assert first.endswith(" s")


def test_a_step_that_ends_before_is_not_told(err: io.StringIO) -> None:
    with told("working", 10.0), step("select 2013-02-01"):
        pass
    assert err.getvalue() == ""


def test_a_line_says_what_the_work_is_about(err: io.StringIO) -> None:
    with told("working", SOON):
        about(pipeline="flights", ds=date(2013, 2, 1))
        with step("select 2013-02-01"):
            until(lambda: "select" in err.getvalue())
    about()
    line = next(one for one in lines(err) if one["message"].startswith("select"))
    assert (line["pipeline"], line["ds"]) == ("flights", "2013-02-01")


def test_a_command_that_says_nothing_of_itself_is_told_too(err: io.StringIO) -> None:
    with told("working", SOON):
        until(lambda: "working, 0 s" in err.getvalue())


def test_days_side_by_side_have_a_line_each(err: io.StringIO) -> None:
    ready = threading.Event()

    def day(name: str) -> None:
        with step(name):
            ready.wait(10)

    with told("working", SOON), step("backfill", 2, "days"):
        threads = [threading.Thread(target=day, args=(name,)) for name in ("select A", "select B")]
        for thread in threads:
            thread.start()
        until(lambda: {"select A", "select B"} <= {m.split(",")[0] for m in messages(err)})
        ready.set()
        for thread in threads:
            thread.join()
    assert any(message.startswith("backfill, 0 of 2 days") for message in messages(err))


def messages(err: io.StringIO) -> list[str]:
    return [line["message"] for line in lines(err)]


def test_another_system_is_told_the_step_and_asked_for_its_counts(err: io.StringIO) -> None:
    begun: list[str | None] = []
    progress.join(begun.append, lambda: "12 of 64 tasks")
    with told("working", SOON), step("select 2013-02-01"), step("scoring candidates"):
        until(lambda: "scoring" in err.getvalue())
    assert messages(err)[0].startswith("select 2013-02-01: scoring candidates, 12 of 64 tasks, ")
    assert begun == [
        *("working", "working: select 2013-02-01"),
        "working: select 2013-02-01: scoring candidates",
        *("working: select 2013-02-01", "working", None),
    ]


def test_a_system_that_has_ended_does_no_harm(err: io.StringIO) -> None:
    def fails(*_: Any) -> Any:
        raise ConnectionError("gone")

    progress.join(fails, fails)
    with told("working", SOON), step("select"):
        until(lambda: "select, 0 s" in err.getvalue())


def test_on_a_terminal_one_line_changes_and_makes_way_for_the_log(terminal: io.StringIO) -> None:
    with told("working", SOON), step("reading", 10) as read:
        until(lambda: "reading, 0 of 10 rows" in terminal.getvalue())
        read.add(5)
        until(lambda: "reading, 5 of 10 rows" in terminal.getvalue())
        log.info("a line of the log")
    text = terminal.getvalue()
    assert text.count("\n") == 1  # that of the log
    assert "\r\x1b[K" in text.partition(" INFO a line of the log")[0][-20:]
    assert text.endswith(("\r\x1b[K", "a line of the log\n"))


def test_a_bar_of_its_own_is_left_alone_on_a_terminal(terminal: io.StringIO) -> None:
    with told("working", SOON), step("epoch 1 of 8", 100, own_bar=True):
        time.sleep(5 * SOON)
    assert "epoch" not in terminal.getvalue()


def test_nothing_is_left_behind(err: io.StringIO) -> None:
    with pytest.raises(ValueError, match="no"), told("working", SOON), step("reading"):
        raise ValueError("no")
    assert progress._steps == {}
    assert not [one for one in threading.enumerate() if one.name == "progress"]


def test_a_process_ends_while_a_step_is_told(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from schemas.progress import told, step\n"
        "with told('working', 0.01), step('reading'):\n"
        "    time.sleep(0.1); sys.exit(3)\n"
    )
    root = Path(__file__).parents[1]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, timeout=30, check=False)
    assert ended.returncode == 3


def test_every_command_tells_of_its_steps(
    err: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def job(_: Any) -> dict[str, Any]:
        seen.extend(one.words for stack in progress._steps.values() for one in stack)
        return {"status": "done"}

    assert run_command(job, []) == 0
    assert run_command(job, [], tells=False) == 0
    assert seen == ["working"]


def test_spark_says_how_many_tasks_are_done(spark: SparkSession, err: io.StringIO) -> None:
    from spark_jobs.storage.spark_progress import join_progress

    join_progress(spark.sparkContext)
    jobs: list[str | None] = []

    def slowly(batches: Any) -> Any:
        for batch in batches:
            time.sleep(0.3)
            yield batch

    with told("working", SOON), step("select 2013-02-01"), step("scoring candidates"):
        jobs.append(spark.sparkContext.getLocalProperty("spark.job.description"))
        spark.range(0, 4, 1, 4).mapInArrow(slowly, "id BIGINT").collect()
    jobs.append(spark.sparkContext.getLocalProperty("spark.job.description"))
    assert jobs == ["working: select 2013-02-01: scoring candidates", None]
    with_tasks = [one for one in messages(err) if "of 4 tasks" in one]
    assert with_tasks
    assert with_tasks[0].startswith("select 2013-02-01: scoring candidates, ")
