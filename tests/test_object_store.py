"""The loop on an S3-compatible store: delta-rs, the Petastorm reader, the registry, Spark."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake

import tenforward
from inference.recorder import ForwardRecorder
from inference.registered import find_champion
from schemas.errors import ConfigurationError, ConflictError, DataQualityError
from schemas.lock import exclusive
from schemas.places import filesystem, for_spark, state_folder, within
from schemas.tables import all_tables
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import PIPELINE as FLIGHTS
from tests.helpers.object_store import BUCKET, JARS, SECRET, object_store, uploaded
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import empty_database, random_rows, small_pipeline, write_refresh
from trainer.data.reader import read_sampled
from trainer.data.refresh import open_refresh
from trainer.train import train_refresh

PIPELINE = small_pipeline()
NEWEST = date(2013, 1, 9)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The store, with this process's environment pointing to it."""
    state = tmp_path_factory.mktemp("state")
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), state / "mlflow.db")
    with object_store(state) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same two refreshes on this machine."""
    root = tmp_path_factory.mktemp("folder")
    for number, name in enumerate(("first", "second"), 1):
        write_refresh(root, PIPELINE, name, random_rows(500, seed=number), day=number)
    return root


@pytest.fixture(scope="module")
def warehouse(store: dict[str, str], folder: Path) -> str:
    return uploaded(folder, "small")


# One place that knows what a place is.


@pytest.mark.parametrize("root", ["s3://lake/a", "s3a://lake/a", "s3://lake/a/"])
def test_a_table_has_one_name_for_delta_rs_and_one_for_spark(root: str) -> None:
    table = within(root, "features/weather")
    assert table == "s3://lake/a/features/weather"
    assert for_spark(table) == "s3a://lake/a/features/weather"


def test_a_folder_has_the_same_name_for_both(tmp_path: Path) -> None:
    assert for_spark(within(str(tmp_path), "labels")) == str(tmp_path / "labels")


def test_locks_and_checkpoints_lie_in_the_warehouse_or_else_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENFORWARD_STATE", str(tmp_path / "state"))
    assert state_folder(str(tmp_path)) == tmp_path
    ours, theirs = state_folder("s3://lake/ours"), state_folder("s3://lake/theirs")
    assert ours.parent == theirs.parent == tmp_path / "state"
    assert ours != theirs
    assert state_folder("s3a://lake/ours/") == ours


def test_a_registry_inside_an_object_store_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigurationError, match=r"s3://lake/x.*Remedy: set MLFLOW_TRACKING_URI"):
        find_champion("small", "s3://lake/x")


# Reading, training, recording: no Spark.


def test_law_4_the_reader_reads_the_same_rows_from_the_store(warehouse: str, folder: Path) -> None:
    here = read_sampled(PIPELINE, open_refresh(str(folder), PIPELINE, "first"))
    there = read_sampled(PIPELINE, open_refresh(warehouse, PIPELINE, "first"))
    np.testing.assert_array_equal(here.label, there.label)
    for one, other in zip(here.inputs, there.inputs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_registers_a_champion_whose_bundle_is_on_the_store(
    warehouse: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--pipeline", pipeline_file(tmp_path, PIPELINE), "--warehouse", warehouse]
    assert tenforward.main(["train", *where, "--refresh", "first"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["promoted"]
    champion = find_champion("small", warehouse)
    assert champion is not None
    assert champion.refresh_id == "first"
    artifacts = filesystem(f"{warehouse}/mlartifacts")
    kept = artifacts[0].get_file_info(_below(artifacts[1]))
    assert {Path(file.path).name for file in kept} >= {"program.pt2", "weights.safetensors"}
    again = train_refresh(PIPELINE, warehouse, "first")
    assert (again["status"], again["version"]) == ("already done", told["version"])
    # And what a person asks about it is answered.
    assert tenforward.main(["status", *where]) == 0
    assert json.loads(capfd.readouterr().out)["champion"] == told["version"]
    assert tenforward.main(["show", "first", *where]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["models"][0]["of_this_sample"]
    assert SECRET not in out + err


def _below(path: str) -> Any:
    from pyarrow.fs import FileSelector

    return FileSelector(path, recursive=True)


def test_two_trainings_of_one_machine_keep_out_of_each_others_way(warehouse: str) -> None:
    held = exclusive(state_folder(warehouse) / ".train-small.lock", wait=False)
    with held, pytest.raises(ConflictError, match="training the same model"):
        train_refresh(PIPELINE, warehouse, "second")


def test_a_vacuumed_refresh_on_the_store_is_refused_by_name(store: object, folder: Path) -> None:
    there = uploaded(folder, "vacuumed")
    lost = open_refresh(there, PIPELINE, "first").sampled[0].path
    files, path = filesystem(lost)
    files.delete_file(path)
    with pytest.raises(DataQualityError, match=r"refresh first: refused.*vacuumed.*Remedy"):
        open_refresh(there, PIPELINE, "first")


def test_law_2_four_recorders_at_once_lose_no_record(store: dict[str, str], tmp_path: Path) -> None:
    there = f"s3://{BUCKET}/recorded"
    tables = all_tables(PIPELINE)
    for name in ("forward_records", "forward_rejects"):
        table = tables[name]
        empty = table.arrow_schema.empty_table()
        write_deltalake(within(there, name), empty, partition_by=list(table.partition_by))
    file = pipeline_file(tmp_path, PIPELINE)

    def record(number: int) -> None:
        journal = tmp_path / f"journal{number}"
        with ForwardRecorder(file, warehouse=there, journal=journal, model_version="1") as recorder:
            ids = [f"{number}-{i}" for i in range(50)]
            recorder.record(ids, [datetime(2013, 1, 1, tzinfo=UTC)] * 50, np.zeros(50))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(4)))
    actions = pa.table(Snapshot(within(there, "forward_records")).get_add_actions())
    assert sum(actions["num_records"].to_pylist()) == 200


# Spark.


@pytest.mark.slow
@pytest.mark.skipif(not JARS, reason="Spark needs 645 MB of jars for s3a: make s3-jars")
def test_law_1_spark_scores_selects_and_maintains_on_the_store_as_in_a_folder(
    store: dict[str, str], twin: Warehouse
) -> None:
    there = uploaded(Path(twin.root), "flights", without=("mlartifacts", "report_cards"))
    registry = {"MLFLOW_TRACKING_URI": f"sqlite:///{twin.root}/mlflow.db"}

    def submit(job: str, *arguments: str) -> dict[str, Any]:
        options = ["--jars", ",".join(map(str, JARS))]
        options += ["--conf", "spark.hadoop.fs.s3a.path.style.access=true"]
        where = ["--pipeline", FLIGHTS, "--warehouse", there]
        command = [str(Path(sys.executable).parent / "spark-submit"), *options]
        done = subprocess.run(
            [*command, f"spark_jobs/{job}.py", *where, *arguments],
            env=os.environ | registry,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        assert SECRET not in done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI")
        score_day(twin, NEWEST)
        expected = select_day(twin, NEWEST)
    # Second, because it trains as well, and may put another champion into the registry of both.
    told = submit("backfill", "--start", str(NEWEST), "--end", str(NEWEST))
    [day] = told["days"]
    assert day["select"]["sample_digest"] == expected["sample_digest"]
    files, path = filesystem(day["select"]["report_card"])
    assert files.get_file_info(path).size > 10_000
    assert submit("maintain")["status"] == "done"
