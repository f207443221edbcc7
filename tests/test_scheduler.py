"""Airflow's real scheduler over real flights: bells, trainings, a kill, a backfill, a burst.

The tests are one story in the order of this file, on one Airflow and one warehouse: each begins
where the one before it left off.
"""

import subprocess
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from deltalake import DeltaTable as Snapshot
from pyspark.sql import SparkSession

from demo.airflow_home import airflow_home
from demo.airflow_server import AirflowServer
from schemas.manifests import Manifest, read_manifests
from schemas.pipeline import load_pipeline
from schemas.registry import champion_version, mlflow_client
from spark_jobs.bootstrap import bootstrap
from spark_jobs.ingest import ingest
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import PIPELINE, twin_of
from trainer.train import train_refresh

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

SELECT, TRAIN = "select_flights", "train_flights"
STOCKED = date(2013, 1, 1), date(2013, 1, 10)
LEARNT = date(2013, 1, 1), date(2013, 1, 6)
FIRST, KILLED, BACKFILLED = "2013-01-07", "2013-01-08", ("2013-01-09", "2013-01-10")


@pytest.fixture(scope="module")
def world(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """Ten days of flights, a first champion, and an Airflow with everything that schedules."""
    folder = tmp_path_factory.mktemp("scheduled")
    file = folder / "pipelines" / "flights.toml"
    file.parent.mkdir()
    # Whether a model of so few days is better than the last one is not what is asked here.
    text = Path(PIPELINE).read_text().replace("max_loss_increase = 0.01", "max_loss_increase = 9.0")
    file.write_text(text)
    warehouse = Warehouse(str(folder / "warehouse"), load_pipeline(file))
    ingest(warehouse, *STOCKED)
    learnt = bootstrap(warehouse, *LEARNT)["refresh_id"]
    train_refresh(warehouse.pipeline, warehouse.root, learnt)
    home = airflow_home(
        folder / "airflow",
        TENFORWARD_WAREHOUSE=warehouse.root,
        TENFORWARD_PIPELINES=str(file.parent),
        TENFORWARD_MLFLOW_URL="http://mlflow.example",
        # A killed task is noticed after this long; without, after 5 minutes.
        AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL="20",
        AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT="60",
    )
    with AirflowServer(home, folder / "airflow") as server:
        yield SimpleNamespace(warehouse=warehouse, server=server, folder=folder)


# --- what is there ---


def champion(world: SimpleNamespace) -> str:
    version = champion_version(mlflow_client(world.warehouse.root), "flights")
    assert version is not None
    return str(version.version)


def trainings(world: SimpleNamespace, day: str) -> list[str]:
    """The model versions trained on the refresh of a day."""
    versions = mlflow_client(world.warehouse.root).search_model_versions("name = 'flights'")
    wanted = [one.refresh_id for one in refreshes(world, day)]
    return [str(one.version) for one in versions if one.tags["refresh_id"] in wanted]


def refreshes(world: SimpleNamespace, day: str) -> list[Manifest]:
    found = read_manifests(world.warehouse.path("refreshes"), policy="calibrated")
    return [manifest for manifest in found if str(manifest.ds) == day]


def commits(world: SimpleNamespace, table: str, stamp: str) -> int:
    """Commits of a table whose transaction names `stamp`."""
    history = Snapshot(world.warehouse.path(table)).history()
    return sum(stamp in str(entry) for entry in history)


def after(world: SimpleNamespace, count: int) -> dict[str, Any]:
    """The training run that follows `count` others, once it has ended."""
    runs = world.server.wait(
        f"training run {count + 1}",
        lambda: found if len(found := world.server.runs(TRAIN)) > count else None,
        120,
    )
    return dict(world.server.ended(TRAIN, runs[count]["dag_run_id"]))


# --- the story ---


def test_law_1_select_draws_what_the_command_does_rings_and_the_champion_changes(
    world: SimpleNamespace,
) -> None:
    before, other = champion(world), twin_of(world.warehouse, world.folder / "other")
    run = world.server.ended(SELECT, world.server.trigger(SELECT, FIRST))
    assert run["state"] == "success", world.server.tasks(SELECT, run["dag_run_id"])
    training = after(world, 0)
    assert (training["run_type"], training["state"]) == ("asset_triggered", "success")
    [event] = world.server.ask(
        f"dags/{TRAIN}/dagRuns/{training['dag_run_id'].replace('+', '%2B')}/upstreamAssetEvents"
    )["asset_events"]
    assert event["extra"] == {"pipeline": "flights", "ds": FIRST}
    assert trainings(world, FIRST) == [champion(world)] != [before]
    [by_airflow] = refreshes(world, FIRST)
    score_day(other, date.fromisoformat(FIRST))
    by_function = select_day(other, date.fromisoformat(FIRST))
    assert by_airflow.sample_digest == by_function["sample_digest"]


def test_a_training_links_to_its_run_in_mlflow(world: SimpleNamespace) -> None:
    [run] = world.server.runs(TRAIN)
    version = mlflow_client(world.warehouse.root).get_model_version("flights", champion(world))
    links = world.server.ask(
        f"dags/{TRAIN}/dagRuns/{run['dag_run_id'].replace('+', '%2B')}/taskInstances/train/links"
    )["extra_links"]
    assert links["MLflow run"] == f"http://mlflow.example/#/runs/{version.run_id}"


@pytest.mark.nightly
def test_a_kill_of_scheduler_and_spark_leaves_one_refresh_and_one_training(
    world: SimpleNamespace,
) -> None:
    before = Snapshot(world.warehouse.path("selection_probabilities")).version()
    run_id = world.server.trigger(SELECT, KILLED)
    # The refresh is half written then: its manifest, which makes it one, comes last.
    written = partial(wrote_after, world, "selection_probabilities", before)
    world.server.wait("the first rows of the refresh", written, 600, look=0.2)
    scheduler = psutil.Process(world.server.processes["scheduler"].pid)
    for process in [scheduler, *scheduler.children(recursive=True)]:
        process.kill()
    world.server.processes.pop("scheduler").wait()
    world.server.launch("scheduler", "--skip-serve-logs")
    run = world.server.ended(SELECT, run_id)
    assert run["state"] == "success", world.server.tasks(SELECT, run_id)
    assert world.server.tasks(SELECT, run_id)["select"]["try_number"] > 1
    assert after(world, 1)["state"] == "success"
    [manifest] = refreshes(world, KILLED)
    assert commits(world, "forward_records", f"score/{KILLED}") == 1
    counts = manifest.counts
    written = {"sampled": counts.drawn, "selection_probabilities": counts.candidates}
    for table, rows in written.items():
        own = world.warehouse.read(table).where(f"refresh_id = '{manifest.refresh_id}'")
        assert own.count() == rows
    assert trainings(world, KILLED) == [champion(world)]


def wrote_after(world: SimpleNamespace, table: str, version: int) -> bool:
    return Snapshot(world.warehouse.path(table)).version() > version


@pytest.mark.nightly
def test_a_backfill_rings_no_bell_and_a_burst_trains_once_on_the_newest(
    world: SimpleNamespace,
) -> None:
    before, runs = champion(world), len(world.server.runs(TRAIN))
    line = ["airflow", "backfill", "create", "--dag-id", SELECT, "--max-active-runs", "1"]
    subprocess.run(
        [*line, "--from-date", BACKFILLED[0], "--to-date", BACKFILLED[1]],
        env=world.server.environment,
        check=True,
        capture_output=True,
    )
    filled = [run for run in world.server.runs(SELECT) if run["run_type"] == "backfill"]
    assert len(filled) == len(BACKFILLED)
    for run in filled:
        assert world.server.ended(SELECT, run["dag_run_id"])["state"] == "success"
        tasks = world.server.tasks(SELECT, run["dag_run_id"])
        assert tasks["announce"]["state"] == "skipped"
    assert all(refreshes(world, day) for day in BACKFILLED)
    assert len(world.server.runs(TRAIN)) == runs

    for number in range(3):  # one event would do
        world.server.ring("flights_refreshes", {"after": "a backfill", "number": number})
    assert after(world, runs)["state"] == "success"
    assert [len(trainings(world, day)) for day in BACKFILLED] == [0, 1]
    assert trainings(world, BACKFILLED[1]) == [champion(world)] != [before]


def test_a_bell_without_an_untrained_refresh_is_a_skipped_training(world: SimpleNamespace) -> None:
    before, runs = champion(world), len(world.server.runs(TRAIN))
    world.server.ring("flights_refreshes", {"nothing": "new"})
    run = after(world, runs)
    assert run["state"] == "success"
    assert world.server.tasks(TRAIN, run["dag_run_id"])["train"]["state"] == "skipped"
    assert champion(world) == before
