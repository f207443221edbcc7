"""Score and select on a Spark standalone cluster: the sample of one machine (law 1)."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from demo.airflow_home import airflow_home, run_dags
from reference.standalone import Cluster, children, standalone, wait_until
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.storage.settle import DRIVER_ROWS_SETTING
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE, twin_of

ROOT = Path(__file__).parents[1]
NEWEST = date(2013, 1, 9)
NOTHING_ON_THE_DRIVER = ("--conf", f"{DRIVER_ROWS_SETTING}=0")


def test_nothing_sets_a_master_in_code():
    """Only the defaults of one machine, which a deployment's own properties replace, name one."""
    code = [f for part in ("spark_jobs", "trainer", "inference", "schemas", "dags")
            for f in (ROOT / part).rglob("*.py")]  # fmt: skip
    named = [f.name for f in code if re.search(r"\.master\(|spark\.master", f.read_text())]
    assert named == []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    subprocess.run([sys.executable, "setup/zip.py", "dist/tenforward.zip", *sources()], check=True)
    with standalone(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def sources() -> list[str]:
    """What `make zip` packs."""
    found = [
        file for part in ("schemas", "spark_jobs", "trainer", "inference")
        for file in Path(part).rglob("*") if file.suffix in (".py", ".html")
    ]  # fmt: skip
    return [*map(str, found), "tenforward.py"]


@pytest.fixture(scope="module")
def local(loop: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The newest day, scored and selected on this machine alone."""
    warehouse = twin_of(loop["warehouse"], tmp_path_factory.mktemp("local"))
    score_day(warehouse, NEWEST)
    select_day(warehouse, NEWEST)
    return warehouse


def where(warehouse: Warehouse, ds: date) -> list[str]:
    return ["--pipeline", PIPELINE, "--warehouse", warehouse.root, "--ds", str(ds)]


def answer(job: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    """The result of a job that must succeed, and its log."""
    try:
        out, err = job.communicate(timeout=400)
    finally:
        job.kill()  # spark-submit has become the driver: nothing is left behind
    assert job.returncode == 0, err[-6000:]
    return json.loads(out.splitlines()[-1]), err


def predictions(warehouse: Warehouse) -> list[Any]:
    day = warehouse.read("forward_records").where(F.col("event_date") == F.lit(NEWEST))
    return day.select("instance_id", "prediction", "segments").orderBy("instance_id").collect()


def settings(events: list[dict[str, Any]]) -> dict[str, str]:
    told = next(e for e in events if e["Event"] == "SparkListenerEnvironmentUpdate")
    found: dict[str, str] = told["Spark Properties"]
    return found


def executors_that_worked(events: list[dict[str, Any]]) -> set[str]:
    ended = (event for event in events if event["Event"] == "SparkListenerTaskEnd")
    return {event["Task Info"]["Executor ID"] for event in ended}


@pytest.mark.slow
@pytest.mark.nightly
def test_law_1_two_executors_select_what_one_machine_does_though_one_is_killed(
    cluster, loop, twin, tmp_path
):
    """The executors run the archive's Python, which knows this project by the zip alone."""
    archive = tmp_path / "env.tar.gz"
    subprocess.run([sys.executable, "setup/package.py", str(archive)], check=True)
    python = ("--conf", "spark.pyspark.python=./env/bin/python")
    driver = ("--conf", f"spark.pyspark.driver.python={sys.executable}")
    sent = ("--archives", f"{archive}#env", "--conf", "spark.sql.shuffle.partitions=3")
    options = (*NOTHING_ON_THE_DRIVER, *sent, *python, *driver)
    job = cluster.submit(options, "select_sample", *where(twin, LOOPED[1]), "--force")
    try:
        wait_until(lambda: bool(at_work(cluster)), "an executor runs Python")
        os.kill(at_work(cluster)[0], signal.SIGKILL)
        told, log = answer(job)
    finally:
        job.kill()
    assert "Lost executor" in log
    assert told["status"] == "done"
    assert told["sample_digest"] == loop["days"][1]["select"]["sample_digest"]
    events = cluster.events()
    assert len(executors_that_worked(events)) >= 2
    said = settings(events)
    # The properties file is heard, --conf has the last word, and code takes back neither.
    assert said["spark.master"] == f"spark://127.0.0.1:{cluster.port}"
    assert said["spark.executor.memory"] == "512m"
    assert said["spark.sql.shuffle.partitions"] == "3"


def at_work(cluster: Cluster) -> list[int]:
    """Executors that have started Python; before that, their child is tar with the archive."""
    return [pid for pid in cluster.executors() if any(map(is_python, children(pid)))]


def is_python(pid: int) -> bool:
    try:
        return b"pyspark.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def applications(cluster: Cluster) -> set[str]:
    """Those that the workers have run."""
    return {folder.name for folder in cluster.folder.glob("work*/app-*")}


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.airflow
def test_law_1_the_airflow_operator_scores_and_selects_on_the_cluster(
    cluster, local, twin, tmp_path
):
    environment = airflow_home(
        tmp_path / "airflow",
        TENFORWARD_WAREHOUSE=twin.root,
        TENFORWARD_PIPELINES=str(Path(PIPELINE).parent),
        TENFORWARD_PY_FILES="dist/tenforward.zip",
        AIRFLOW_CONN_SPARK_DEFAULT=f"spark://127.0.0.1:{cluster.port}",
    )
    before = applications(cluster)
    with (tmp_path / "log").open("w+") as log:
        [result] = run_dags(environment, [f"select_flights@{NEWEST}"], log)
        log.seek(0)
        assert result["state"] == "success", f"{result}\n{log.read()[-6000:]}"
    assert predictions(twin) == predictions(local)
    told = select_day(twin, NEWEST)
    assert told["status"] == "already done"
    assert told["sample_digest"] == select_day(local, NEWEST)["sample_digest"]
    assert len(applications(cluster) - before) == 2  # score and select
