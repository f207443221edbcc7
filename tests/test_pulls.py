"""The pull to the parent, chosen among several by the later days."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from tests.helpers.trainer_tables import (
    random_rows,
    small_pipeline,
    sound_and_flipped,
    write_refresh,
)
from trainer.data.reader import HeldOut, Rows
from trainer.fitting.fit import Fitted, History
from trainer.fitting.pull import choose, to_choose_by
from trainer.promotion.registry import open_registry
from trainer.train import train_refresh

PIPELINE = small_pipeline(gate={"max_loss_increase": 0.05})


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two refreshes: a sound one, and a later one whose labels are upside down."""
    return sound_and_flipped(tmp_path_factory, PIPELINE)


@pytest.fixture
def warehouse(untrained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untrained, tmp_path / "warehouse"))


def test_the_pull_that_answers_best_on_later_days_is_taken_and_told(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    pulls = small_pipeline(
        training={"pulls": [0.0, 1000.0], "learning_rate": 0.05, "checkpoint_steps": 3},
        selection={"forward_days": 1},
        gate={"max_loss_increase": 10},
    )
    held = random_rows(400, seed=97) | {"forward": np.arange(400) >= 200}
    mirrored = random_rows(300, seed=2)
    mirrored["price"] = 100 - mirrored["price"]  # the later days are not: trust the parent
    write_refresh(warehouse, pulls, "odd", mirrored, held, day=5)
    result = train_refresh(pulls, str(warehouse), "odd")
    told = result["metrics"]["pull"]
    assert told["loss_of_0.0"] > told["loss_of_1000.0"]
    assert told["taken"] == 1000.0
    assert result["metrics"]["forward.challenger"]["rows"] == 100  # the half that did not choose
    assert list((warehouse / "checkpoints").iterdir()) == []
    registry = open_registry(str(warehouse), "small", "small")
    assert registry.client.get_run(result["run_id"]).data.params["pull"] == "1000.0"


def test_too_few_later_rows_choose_nothing(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    pulls = small_pipeline(
        training={"pulls": [0.0, 1.0], "pull": 0.5}, selection={"forward_days": 1}
    )
    write_refresh(warehouse, pulls, "odd", random_rows(300, seed=2), day=5)
    result = train_refresh(pulls, str(warehouse), "odd")
    assert "pull" not in result["metrics"]
    registry = open_registry(str(warehouse), "small", "small")
    assert registry.client.get_run(result["run_id"]).data.params["pull"] == "0.5"


@pytest.mark.parametrize("losses", [[np.nan, 0.7, 0.6], [0.7, np.nan, 0.6], [np.nan, np.inf, 0.6]])
def test_a_loss_that_is_no_number_is_the_worst_wherever_it_stands(losses: list[float]) -> None:
    models = [nn.Identity() for _ in losses]
    history = History([], [], 0, 0.0, 0.0, None)
    fits = {float(at): Fitted(model, history) for at, model in enumerate(models)}
    assert choose(fits, lambda model: losses[models.index(model)]).pull == 2.0


def test_rows_that_weigh_nothing_choose_no_pull() -> None:
    random = np.random.default_rng(5)
    rows = Rows(
        (np.zeros((400, 0), np.int64), np.zeros((400, 1), np.float32)),
        (random.random(400) < 0.5).astype(np.float32),
        (np.arange(400) % 40 == 0).astype(np.float32),  # ten weigh anything
        np.zeros(400, np.float32),
    )
    held_out = HeldOut(rows, np.ones(400, np.bool_), {})
    pulls = small_pipeline(
        training={"pulls": [0.0, 1.0]}, selection={"forward_days": 1}, gate={"min_rows": 100}
    )
    assert to_choose_by(pulls, held_out, warm=True) == (None, held_out)
    few = pulls.model_copy(update={"gate": pulls.gate.model_copy(update={"min_rows": 5})})
    choose_by, judge_by = to_choose_by(few, held_out, warm=True)
    assert choose_by is not None
    assert (choose_by.rows.weight == 1).all()
    assert len(choose_by.rows.label) == 5
    assert judge_by.rows.weight.sum() == 5
