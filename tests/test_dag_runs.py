"""Runs of the DAGs in a real Airflow: the commands of a day, its event, retries and refusals.

Recording stubs stand in place of spark-submit and tenforward. Real jobs are run in
`test_three_ways.py` and `test_scheduler.py`.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo.airflow_home import airflow_home, run_dags
from tests.helpers.dag_facts import DAY, ROOT
from tests.helpers.flights_loop import PIPELINE

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAILY = str(Path(PIPELINE).parent)  # a refresh a day: no task asks whether one is due
RUNS = [f"select_flights@{DAY}", "train_flights", "train_flights"]
RUNS += ["select_flights@2013-02-16", "select_flights@2013-02-17"]

# A stub appends its name and arguments to $CALLS. What it does then is a matter of the day:
# refused for ever on one, a conflict at the first try on another. A second training finds nothing.
STUB = """#!/usr/bin/env bash
python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "${0##*/}" "$@" >>"$CALLS"
case "$*" in
    *2013-02-16) if mkdir "$CALLS.tried" 2>/dev/null; then exit 5; fi ;;
    *2013-02-17) exit 4 ;;
    train*) mkdir "$CALLS.trained" 2>/dev/null || { echo '{"status": "nothing to do"}'; exit 0; } ;;
esac
echo '{"status": "done"}'
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The results of RUNS, and the command lines that the stubs recorded."""
    folder = tmp_path_factory.mktemp("airflow")
    stubs = folder / "stubs"
    stubs.mkdir()
    for name in ("spark-submit", "tenforward"):
        (stubs / name).write_text(STUB)
        (stubs / name).chmod(0o755)
    made = airflow_home(
        folder, TENFORWARD_WAREHOUSE="/lake/it's {pipeline}", TENFORWARD_PIPELINES=DAILY
    )
    environment = made | {"PATH": f"{stubs}:{made['PATH']}", "CALLS": str(folder / "calls")}
    with (folder / "log").open("w+") as log:
        results = run_dags(environment, RUNS, log)
        log.seek(0)
        text = log.read()
    calls = [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
    return SimpleNamespace(results=results, calls=calls, log=text)


def test_the_commands_of_a_day(ran: SimpleNamespace) -> None:
    both = ["--pipeline", PIPELINE, "--warehouse", "/lake/it's flights"]
    spark = ["spark-submit", "--master", "local[*]", "--name"]
    score = ["tenforward score flights", f"{ROOT}/spark_jobs/score.py"]
    select = ["tenforward select flights", f"{ROOT}/spark_jobs/select_sample.py"]
    assert ran.calls[:3] == [
        [*spark, *score, *both, "--ds", DAY],
        [*spark, *select, *both, "--ds", DAY],
        ["tenforward", "train", *both, "--refresh", "latest"],
    ]


def test_the_event_says_which_pipeline_and_day(ran: SimpleNamespace) -> None:
    day, training, *_ = ran.results
    assert day["state"] == training["state"] == "success"
    extra = {"pipeline": "flights", "ds": DAY}
    assert day["events"] == [{"asset": "flights_refreshes", "extra": extra}]


def test_a_conflict_is_tried_again(ran: SimpleNamespace) -> None:
    assert ran.results[3]["state"] == "success"
    jobs = [Path(call[5]).stem for call in ran.calls if call[-1] == "2013-02-16"]
    assert jobs == ["score", "score", "select_sample"]


def test_a_refused_day_fails_at_once_and_rings_no_bell(ran: SimpleNamespace) -> None:
    refused = ran.results[4]
    assert refused["state"] == "failed"
    assert refused["tasks"] == {"score": "failed"} | dict.fromkeys(
        ["select", "announce"], "upstream_failed"
    )
    assert refused["errors"]["score"].endswith("Error code is: 4.")
    assert refused["events"] == []
    assert len([call for call in ran.calls if call[-1] == "2013-02-17"]) == 1
    assert "refused for data quality" in ran.log


def test_a_second_training_is_skipped(ran: SimpleNamespace) -> None:
    assert [run["tasks"]["train"] for run in ran.results[1:3]] == ["success", "skipped"]
