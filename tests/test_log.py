"""stdout is one JSON result; stderr is a JSON line an event, which says what it is about."""

import json
import signal
from datetime import date
from typing import Any

import pytest
from py4j.protocol import Py4JError

import tenforward
from schemas.command import run_command
from schemas.log import about, log
from tests.helpers.flights_loop import LOOPED, PIPELINE


def lines(err: str) -> list[dict[str, Any]]:
    """The log's lines; Spark's own are no JSON."""
    return [json.loads(line) for line in err.splitlines() if line.startswith("{")]


def test_lines_carry_what_the_job_is_about_from_then_on(capfd):
    def job(argv: Any) -> dict[str, Any]:
        log.info("before")
        about(pipeline="p", ds=date(2013, 2, 1))
        log.info("a day")
        about(pipeline="p", ds=date(2013, 2, 2), refresh_id="r", table_version=None)
        log.warning("the next")
        return {"status": "done"}

    assert run_command(job, []) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {"status": "done"}
    kept = ("message", "pipeline", "ds", "refresh_id", "table_version")
    told = [{name: line[name] for name in kept if name in line} for line in lines(err)]
    assert told == [
        {"message": "before"},
        {"message": "a day", "pipeline": "p", "ds": "2013-02-01"},
        {"message": "the next", "pipeline": "p", "ds": "2013-02-02", "refresh_id": "r"},
        {"message": "done", "pipeline": "p", "ds": "2013-02-02", "refresh_id": "r"},
    ]


def test_one_command_does_not_speak_for_the_next(capfd):
    about(pipeline="somebody else's")
    run_command(lambda argv: {"status": "done"}, [])
    [line] = lines(capfd.readouterr().err)
    assert "pipeline" not in line


FUTURE, BACKWARDS = ["--ds", "2999-01-01"], ["--start", "2013-02-02", "--end", "2013-02-01"]
FAILING = {
    "init": ["--warehouse", "nowhere://lake"],
    "validate": ["--warehouse", "nowhere://lake"],
    "describe": ["--table", "absent"],
    "ingest": BACKWARDS,
    "bootstrap": BACKWARDS,
    "score": FUTURE,
    "import-records": FUTURE,
    "due": FUTURE,
    "select": FUTURE,
    "compare": FUTURE,
    "estimate": ["--refresh", "absent", "--challenger", "1"],
    "train": ["--refresh", "absent"],
    "register": ["--model", "absent", "--refresh", "absent"],
    "migrate": [],
    "rollback": [],
    "monitor": FUTURE,
    "status": [],
    "show": ["absent"],
    "diff": ["absent", "absent"],
    "explain": ["absent"],
    "set-aside": ["absent", "--reason", "wrong", "--by", "ada"],
    "check": [],
    "maintain": ["--table", "absent"],
    "backfill": BACKWARDS,
}


@pytest.mark.parametrize("command", sorted({*tenforward.COMMANDS} - {"new", "from-feast"}))
def test_every_command_says_which_pipeline_it_failed_for(command, tmp_path, capfd):
    where = ["--pipeline", PIPELINE, "--warehouse", str(tmp_path / "absent")]
    assert tenforward.main([command, *where, *FAILING[command]]) != 0
    told = lines(capfd.readouterr().err)
    assert {line.get("pipeline") for line in told} == {"flights"}
    if "--ds" in FAILING[command]:
        assert {line.get("ds") for line in told} == {"2999-01-01"}


def test_what_is_raised_on_the_way_out_of_a_ctrl_c_is_a_ctrl_c(capfd):
    def job(argv: Any) -> dict[str, Any]:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("the job was cancelled")  # as PySpark does

    assert run_command(job, []) == 130
    assert json.loads(capfd.readouterr().out)["status"] == "interrupted"


def test_a_ctrl_c_that_cannot_cancel_the_jobs_is_a_ctrl_c(spark, monkeypatch):
    def gone() -> None:  # it came while an answer of the JVM was read, or the JVM has it already
        raise Py4JError("An error occurred while calling sc")

    monkeypatch.setattr(spark.sparkContext, "cancelAllJobs", gone)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("command", "field"), [("score", "table_version"), ("select", "refresh_id")]
)
def test_score_and_select_name_day_refresh_and_table_version(loop, capfd, command, field):
    warehouse = loop["warehouse"]
    where = ["--pipeline", PIPELINE, "--warehouse", warehouse.root, "--ds", str(LOOPED[1])]
    assert tenforward.main([command, *where]) == 0
    out, err = capfd.readouterr()
    result, last = json.loads(out), lines(err)[-1]
    assert (last["pipeline"], last["ds"]) == (warehouse.pipeline.name, str(LOOPED[1]))
    version = result["version"] if command == "score" else result["sampled"]["version"]
    assert last["table_version"] == version
    assert last.get("refresh_id") == result.get("refresh_id")
    assert field in last
