"""A secret in the environment, in an address or in a connection stands in nothing that is left."""

import json
import os
from pathlib import Path

import pytest
from deltalake import DeltaTable as Snapshot

import tenforward
from inference.recorder import ForwardRecorder
from schemas.command import run_command
from schemas.errors import ConfigurationError
from schemas.log import log, without_passwords
from schemas.validation.examine import examine
from tests.conftest import PLANTED
from tests.helpers.dag_facts import described_alone
from tests.helpers.flights_loop import PIPELINE
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.recording import FLIGHTS
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh

SECRET = "planted-secret-4f1d"


def holding(root: Path, secret: str) -> list[str]:
    """Files below a folder that hold the secret; of Parquet, whose bytes are packed, the rows."""
    found = [
        str(file.relative_to(root))
        for file in root.rglob("*")
        if file.is_file() and secret.encode() in file.read_bytes()
    ]
    for log_folder in root.rglob("_delta_log"):
        files = Snapshot(str(log_folder.parent)).file_uris()
        found += [file for file in files if secret in str(_rows(file))]
    return found


def _rows(file: str) -> object:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file).read().to_pylist()


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    rows = random_rows(20)
    write_refresh(tmp_path, small_pipeline(), f"of-{SECRET}", rows)
    (tmp_path / "log").write_text(f"a {SECRET}")
    found = holding(tmp_path, SECRET)
    assert "log" in found
    assert any("refreshes" in name for name in found)


def test_a_whole_loop_leaves_none_of_the_environments_secrets(loop) -> None:
    """tests/conftest.py plants them before the first process of the loop starts."""
    assert {os.environ[name] for name in PLANTED} == set(PLANTED.values())
    root = Path(loop["warehouse"].root)
    for secret in PLANTED.values():
        assert holding(root, secret) == []
        assert secret not in json.dumps(loop, default=str)


def test_a_training_tells_none(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    pipeline = small_pipeline()
    root = tmp_path / "warehouse"
    write_refresh(root, pipeline, "first", random_rows(300, seed=1))
    file = pipeline_file(tmp_path, pipeline)
    assert tenforward.main(["train", "--pipeline", file, "--warehouse", str(root)]) == 0
    told = capfd.readouterr()
    assert SECRET not in told.out + told.err
    assert holding(tmp_path, SECRET) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://me:pass@host/api", "http://host/api"),
        ("mysql://u@h:3306/db and s3://k:s@b/w", "mysql://h:3306/db and s3://b/w"),
        ("see http://host/a@b", "see http://host/a@b"),
        ("me@host, no address", "me@host, no address"),
    ],
)
def test_addresses_are_told_without_their_passwords(text: str, told: str) -> None:
    assert without_passwords(text) == told


@pytest.mark.parametrize("failing", [False, True])
def test_neither_the_log_nor_the_result_repeats_the_password_of_an_address(
    capfd, failing: bool
) -> None:
    address = f"https://me:{SECRET}@mlflow.example/api"

    def job(argv: object) -> dict[str, str]:
        log.info("asking %s", address)
        if failing:
            raise RuntimeError(f"{address} does not answer")
        return {"tracking_uri": address}

    run_command(job, [])
    told = capfd.readouterr()
    assert SECRET not in told.out + told.err
    assert "https://mlflow.example/api" in told.out


@pytest.mark.parametrize("place", ["s3://key:{}@bucket/w", "s3a://{}@bucket", "gs://k:{}@b/w"])
def test_a_warehouse_with_a_password_is_refused_and_not_repeated(place: str, tmp_path) -> None:
    place = place.format(SECRET)
    [fault] = examine(PIPELINE, place, writes=True, trains=False).faults
    assert "holds a user or a password" in str(fault)
    assert SECRET not in json.dumps(fault.as_dict())
    with pytest.raises(ConfigurationError, match="holds a user or a password") as error:
        ForwardRecorder(FLIGHTS, warehouse=place, model_version="1", journal=tmp_path / "journal")
    assert SECRET not in str(error.value)


@pytest.mark.airflow
def test_no_task_shows_a_connection_or_a_secret_of_the_environment(tmp_path: Path) -> None:
    from demo.airflow_home import airflow_home

    home = airflow_home(
        tmp_path / "airflow",
        AIRFLOW_CONN_SPARK_DEFAULT=f"spark://me:{SECRET}@local%5B1%5D",
        AWS_SECRET_ACCESS_KEY=SECRET,
        MLFLOW_TRACKING_PASSWORD=SECRET,
    )
    assert SECRET not in json.dumps(described_alone(home), default=str)
