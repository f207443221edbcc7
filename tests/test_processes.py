"""`tenforward train --processes N`: one result, the exit code of what went wrong, and resuming."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.ledger import read_spent
from schemas.pipeline import Pipeline
from tests.helpers import counting_model
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import empty_database, random_rows, small_pipeline, write_refresh
from trainer.models.export import load_bundle
from trainer.promotion.registry import open_registry

PIPELINE = small_pipeline()

pytestmark = pytest.mark.slow


@pytest.fixture
def warehouse(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path / "warehouse"
    root.mkdir()
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), root / "mlflow.db")
    write_refresh(root, PIPELINE, "sound", random_rows(500, seed=1), day=1)
    broken = random_rows(64, seed=3) | {"weight": np.full(64, np.nan, np.float32)}
    write_refresh(root, PIPELINE, "broken", broken, day=2)
    return root


def long_training(epochs: int, checkpoint_steps: int = 5) -> Pipeline:
    """The pipeline with so many epochs, and a checkpoint every few steps."""
    longer = {"epochs": epochs, "checkpoint_steps": checkpoint_steps}
    settings = PIPELINE.training.model_copy(update=longer)
    return PIPELINE.model_copy(update={"training": settings})


def train(warehouse: Path, file: str, refresh: str, *options: str) -> list[str]:
    where = ["--pipeline", file, "--warehouse", str(warehouse), "--refresh", refresh]
    return [sys.executable, "-m", "trainer.train", *where, *options]


@pytest.mark.nightly
def test_two_processes_give_one_result_and_the_exit_code_of_what_went_wrong(
    warehouse: Path, tmp_path: Path
) -> None:
    file = pipeline_file(tmp_path, PIPELINE)
    results, codes = [], []
    for refresh in ("sound", "broken"):
        command = train(warehouse, file, refresh, "--processes", "2")
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        (line,) = done.stdout.splitlines()
        results.append(json.loads(line))
        codes.append(done.returncode)
    assert codes == [0, 4]
    assert (results[0]["status"], results[0]["promoted"]) == ("done", True)
    assert (results[1]["status"], results[1]["exit_code"]) == ("failed", 4)


@pytest.mark.nightly
def test_two_processes_go_on_from_the_champions_optimizer(warehouse: Path, tmp_path: Path) -> None:
    file = pipeline_file(tmp_path, PIPELINE)
    write_refresh(warehouse, PIPELINE, "next", random_rows(500, seed=7), day=3)
    subprocess.run(train(warehouse, file, "sound"), capture_output=True, timeout=120, check=True)
    left = []
    for options in ([], ["--processes", "2", "--force"]):
        command = train(warehouse, file, "next", *options)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        version = json.loads(done.stdout)["version"]
        registry = open_registry(str(warehouse), "small", "small")
        registry.client.set_registered_model_alias("small", "champion", "1")
        folder = registry.folder(registry.client.get_model_version("small", version))
        state = load_bundle(folder).optimizer
        assert state is not None
        left.append(state.tensors)
    one, two = left
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5, msg=name)
        assert not name.startswith("step/") or value == 2 * 3 * 8  # batches of 500 rows


@pytest.mark.nightly
def test_a_killed_command_resumes_and_leaves_no_checkpoint(warehouse: Path, tmp_path: Path) -> None:
    file = pipeline_file(tmp_path, long_training(30))
    command = train(warehouse, file, "sound")
    checkpoint = warehouse / "checkpoints" / "small.safetensors"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    patience = time.monotonic() + 60
    while not checkpoint.exists():
        assert time.monotonic() < patience
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "resumed in epoch" in again.stderr
    assert json.loads(again.stdout)["status"] == "done"
    assert not checkpoint.exists()


def test_sigterm_ends_every_rank_with_143(warehouse: Path, tmp_path: Path) -> None:
    file = pipeline_file(tmp_path, long_training(10000))
    process = subprocess.Popen(
        train(warehouse, file, "sound", "--processes", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    patience = time.monotonic() + 90
    while not (warehouse / "checkpoints" / "small.safetensors").exists():
        assert time.monotonic() < patience
        assert process.poll() is None
        time.sleep(0.05)
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    ranks = [pid for task in tasks for pid in (task / "children").read_text().split()]
    assert len(ranks) >= 2
    process.terminate()
    out, log = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["status"]) == (143, "interrupted"), log
    assert "Traceback" not in log
    assert not [pid for pid in ranks if Path(f"/proc/{pid}").exists()]


def test_law_8_the_ledger_adds_up_to_the_steps_that_were_made(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed, a resumed, a repeated and a two-rank training, of a model that counts by itself.

    Between a step and its count the first may have been killed: one batch, at most.
    """
    rows = tmp_path / "rows"
    monkeypatch.setenv(counting_model.FILE, str(rows))
    write_refresh(warehouse, PIPELINE, "even", random_rows(512, seed=4), day=3)
    file = Path(pipeline_file(tmp_path, long_training(60, 50)))
    settings = "width = 8\ndepth = 1\ndropout = 0.0"
    model = "name = 'tests.helpers.counting_model:network'\nsketch_layer = 'blocks'"
    own = f"[model]\n{model}\n[model.settings]\n{settings}\n"
    file.write_text(f"{file.read_text()}\n{own}")
    command = train(warehouse, str(file), "even")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    patience = time.monotonic() + 60
    while not (rows.exists() and made(rows) > 70 * 64):  # beyond a checkpoint, before the next
        assert time.monotonic() < patience
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    at_kill = made(rows)
    for more in ([], ["--force"], ["--force", "--processes", "2"]):
        subprocess.run([*command, *more], capture_output=True, timeout=120, check=True)
    spent = read_spent(str(warehouse))["even"]["training"]
    assert at_kill < 60 * 512
    assert made(rows) - 64 <= spent <= made(rows)
    assert made(rows) >= 3 * 60 * 512


def made(rows: Path) -> int:
    """Rows that went through a training step, by the model's own count."""
    return sum(map(int, rows.read_text().splitlines()))
