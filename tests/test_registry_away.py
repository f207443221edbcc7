"""A registry that is locked or away: a named error to be repeated, and no fit is made twice."""

import json
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.faults import fault_of
from schemas.ledger import read_spent
from schemas.registry import mlflow_client
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import empty_database, random_rows, small_pipeline, write_refresh
from trainer import training
from trainer.train import main

PIPELINE = small_pipeline(training={"epochs": 2})
ROWS = 300
ONCE = 2 * ROWS  # backward passes of one fit, which is shorter than the steps between checkpoints


@pytest.fixture
def warehouse(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refresh to train on, and an empty registry."""
    root = tmp_path / "warehouse"
    root.mkdir()
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), root / "mlflow.db")
    write_refresh(root, PIPELINE, "first", random_rows(ROWS, seed=1))
    return root


@contextmanager
def locked(database: Path, how: str) -> Iterator[None]:
    """Another process's transaction on an embedded registry."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield


def trained(
    warehouse: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    """The command's exit code and result."""
    file = pipeline_file(folder, PIPELINE)
    code = main(["--pipeline", file, "--warehouse", str(warehouse), "--refresh", "first"])
    return code, json.loads(capfd.readouterr().out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_registry_that_is_locked_after_the_fit_costs_no_second_one(
    warehouse: Path, tmp_path: Path, how: str, monkeypatch, capfd
) -> None:
    judge = training.judge
    with monkeypatch.context() as patch, ExitStack() as held:

        def judged(*arguments: Any) -> Any:
            held.enter_context(locked(warehouse / "mlflow.db", how))
            return judge(*arguments)

        patch.setattr(training, "judge", judged)
        code, told = trained(warehouse, tmp_path, capfd)
    assert code == 5
    assert "locked" in told["error"]
    assert "Remedy: " in told["error"]
    assert read_spent(str(warehouse))["first"] == {"training": ONCE}
    code, told = trained(warehouse, tmp_path, capfd)
    assert (code, told["status"], told["version"]) == (0, "done", "1")
    assert read_spent(str(warehouse))["first"] == {"training": ONCE}


def test_a_registry_that_is_locked_at_the_start_is_told(
    warehouse: Path, tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr("schemas.embedded._PATIENCE_S", 0.1)
    with locked(warehouse / "mlflow.db", "EXCLUSIVE"):
        code, told = trained(warehouse, tmp_path, capfd)
    assert (code, "Remedy: " in told["error"], "locked" in told["error"]) == (5, True, True)


@pytest.mark.parametrize("answers", [True, False])
def test_a_server_that_is_away_is_told_soon(answers: bool, monkeypatch, tmp_path: Path) -> None:
    """Nobody listens, or somebody who never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if not answers:
            server.listen(8)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        client, began = mlflow_client(str(tmp_path)), time.monotonic()
        if not answers:
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # of 15
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # of 3
        with pytest.raises(Exception, match="Max retries exceeded") as raised:
            client.search_experiments(max_results=1)
    fault = fault_of(raised.value)
    assert fault is not None
    assert (fault.exit_code, "Remedy: " in str(fault)) == (5, True)
    assert time.monotonic() - began < 30
