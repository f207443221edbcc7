"""`train` takes a refresh, repeats none, refuses what cannot be trained on, and says so."""

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.registered import find_champion
from schemas.errors import ConflictError, DataQualityError, NoDataError
from schemas.lock import exclusive
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import (
    random_rows,
    small_pipeline,
    sound_and_flipped,
    write_refresh,
)
from trainer.promotion.registry import open_registry
from trainer.train import main, train_refresh

PIPELINE = small_pipeline(gate={"max_loss_increase": 0.05})


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two refreshes: a sound one, and a later one whose labels are upside down."""
    return sound_and_flipped(tmp_path_factory, PIPELINE)


@pytest.fixture
def warehouse(untrained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untrained, tmp_path / "warehouse"))


def test_a_trained_refresh_is_already_done_unless_forced(warehouse: Path) -> None:
    first = train_refresh(PIPELINE, str(warehouse), "sound")
    again = train_refresh(PIPELINE, str(warehouse), "sound")
    assert again["status"] == "already done"
    assert (again["version"], again["run_id"]) == (first["version"], first["run_id"])
    forced = train_refresh(PIPELINE, str(warehouse), "sound", force=True)
    assert (forced["status"], forced["version"]) == ("done", "2")


def test_latest_takes_the_newest_refresh_and_then_has_nothing_to_do(warehouse: Path) -> None:
    other = small_pipeline()
    write_refresh(warehouse, other, "of-a-comparison", random_rows(50), day=3, policy="uniform")
    result = train_refresh(PIPELINE, str(warehouse))
    assert (result["status"], result["refresh_id"]) == ("done", "flipped")
    assert train_refresh(PIPELINE, str(warehouse))["status"] == "nothing to do"


def test_retraining_on_the_same_rows_gives_the_same_weights(warehouse: Path) -> None:
    scratch = small_pipeline(training={"warm_start": False})
    train_refresh(scratch, str(warehouse), "sound", model_name="one")
    train_refresh(scratch, str(warehouse), "sound", model_name="two")
    bundles = [find_champion(name, str(warehouse)) for name in ("one", "two")]
    one, two = [(c.folder / "weights.safetensors").read_bytes() for c in bundles if c]
    assert one == two


def test_a_nan_loss_registers_nothing(warehouse: Path) -> None:
    broken = random_rows(64, seed=3) | {"offset": np.full(64, np.nan, np.float32)}
    write_refresh(warehouse, PIPELINE, "broken", broken, day=3)
    with pytest.raises(DataQualityError, match="loss = nan"):
        train_refresh(PIPELINE, str(warehouse), "broken")
    registry = open_registry(str(warehouse), "small", "small")
    assert registry.trained("broken", "digest-of-broken") is None


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"label": np.full(64, 2, np.float32)}, DataQualityError, "label = 2.0: not a class"),
        ({"weight": np.zeros(64, np.float32)}, DataQualityError, "weights sum to 0"),
        ({"weight": np.full(64, np.nan, np.float32)}, DataQualityError, r"sum to nan, .*Remedy"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused(
    warehouse: Path, change: dict[str, np.ndarray], error: type[Exception], words: str
) -> None:
    write_refresh(warehouse, PIPELINE, "odd", random_rows(64, seed=3) | change, day=3)
    with pytest.raises(error, match=words):
        train_refresh(PIPELINE, str(warehouse), "odd")


def test_no_refresh_yet_is_no_data(warehouse: Path) -> None:
    other = small_pipeline().model_copy(update={"name": "other"})
    with pytest.raises(NoDataError, match="no refresh of policy 'calibrated' yet"):
        train_refresh(other, str(warehouse))


def test_one_training_of_a_model_at_a_time(warehouse: Path) -> None:
    with (
        exclusive(warehouse / ".train-small.lock", wait=False),
        pytest.raises(ConflictError, match="held by another process"),
    ):
        train_refresh(PIPELINE, str(warehouse), "sound")


def test_the_command_prints_one_result_and_returns_its_code(
    warehouse: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["--pipeline", pipeline_file(tmp_path, PIPELINE), "--warehouse", str(warehouse)]
    codes, results = [], []
    for options in (["--dry-run"], ["--refresh", "sound"], ["--refresh", "nope"]):
        codes.append(main(common + options))
        (line,) = capfd.readouterr().out.splitlines()
        results.append(json.loads(line))
    assert codes == [0, 0, 2]
    assert [result["status"] for result in results] == ["planned", "done", "failed"]
    assert results[0]["refresh_id"] == "flipped"
    assert results[0]["files"] == 4
    assert "flipped, sound" in results[2]["error"]


def test_its_log_lines_say_which_model_and_refresh_they_are_about(
    warehouse: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["--pipeline", pipeline_file(tmp_path, PIPELINE), "--warehouse", str(warehouse)]
    last_lines = []
    for refresh in ("sound", "nope"):
        main([*common, "--dry-run", "--refresh", refresh])
        last_lines.append(json.loads(capfd.readouterr().err.splitlines()[-1]))
    for line, refresh in zip(last_lines, ("sound", "nope"), strict=True):
        assert (line["pipeline"], line["model"]) == ("small", "small")
        assert line["refresh_id"] == refresh
    assert last_lines[0]["ds"] == "2013-02-01"


def test_a_dry_run_makes_no_registry(tmp_path: Path) -> None:
    write_refresh(tmp_path, PIPELINE, "sound", random_rows(50), day=1)
    assert train_refresh(PIPELINE, str(tmp_path), dry_run=True)["status"] == "planned"
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_two_processes_may_make_the_registry_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")  # so that neither imports MLflow again
    both = [fork.Process(target=open_registry, args=(str(tmp_path), "a", "a")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
