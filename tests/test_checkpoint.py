"""A training that is killed goes on where it stood, to the same bits."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from schemas.pipeline import Pipeline
from tests.helpers.clean_processes import clean_processes
from tests.helpers.trainer_tables import in_memory, random_rows, small_card, small_pipeline
from trainer.fitting.checkpoint import Checkpoint
from trainer.fitting.fit import fit
from trainer.models.model import build_model
from trainer.processes.ranks import Ranks

ROWS = random_rows(600, seed=4)
EPOCHS = 40
BELONGS = {"refresh": "first", "configuration": "abc"}


def trained(
    path: Path | None,
    optimizer: str = "adamw",
    epochs: int = EPOCHS,
    patience: int | None = None,
    carries: bool = False,
) -> dict[str, Tensor]:
    """Weights and losses after a fit of at most 400 steps, a checkpoint every seventh. carries: it
    begins with the state of an optimizer that a fit before has left."""
    own = {"checkpoint_steps": 7, "optimizer": optimizer, "patience": patience, "epochs": epochs}
    pipeline = small_pipeline(training=own)
    model = build_model(small_card(pipeline), seed=1)
    checkpoint = Checkpoint(path, BELONGS) if path else None
    rows = in_memory(pipeline, ROWS)
    settings, carried = pipeline.training, None
    if carries:
        short = settings.model_copy(update={"epochs": 2})
        before = build_model(small_card(pipeline), seed=2)
        carried = fit(before, rows, "binary", short, ranks=Ranks()).optimizer
    history = fit(
        model, rows, "binary", settings, ranks=Ranks(), checkpoint=checkpoint, carried=carried
    )
    return dict(model.state_dict()) | {"losses": torch.tensor(history.losses)}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize(
    ("optimizer", "patience", "carries"),
    [("adamw", 3, False), ("sgd", None, False), ("adamw", None, True)],
)
def test_killed_again_and_again_it_ends_with_the_weights_of_one_run(
    tmp_path: Path, optimizer: str, patience: int | None, carries: bool
) -> None:
    path = tmp_path / "checkpoints" / "small.safetensors"
    whole = trained(None, optimizer, EPOCHS, patience, carries)
    if carries:
        assert not equal(whole, trained(None, optimizer, EPOCHS, patience))
    processes = clean_processes()
    for kill in range(3):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = processes.Process(
            target=trained, args=(path, optimizer, EPOCHS, patience, carries)
        )
        process.start()
        limit = time.monotonic() + 120
        while not (path.exists() and path.stat().st_mtime_ns > before):
            assert time.monotonic() < limit
            time.sleep(0.001)
        time.sleep(0.005 * kill)  # somewhere in an epoch, perhaps in a write
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert equal(trained(path, optimizer, EPOCHS, patience, carries), whole)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log, which goes past pytest."""
    logger = logging.getLogger("tenforward")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_a_checkpoint_of_another_training_is_left_aside_by_name(
    tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "small.safetensors"
    pipeline = small_pipeline(training={"checkpoint_steps": 4, "epochs": 1})
    rows = in_memory(pipeline, ROWS)

    def run(belongs: dict[str, str]) -> dict[str, Tensor]:
        model = build_model(small_card(pipeline), seed=1)
        fit(model, rows, "binary", pipeline.training, checkpoint=Checkpoint(path, belongs))
        return dict(model.state_dict())

    first = run(BELONGS)
    assert equal(run(BELONGS | {"refresh": "second"}), first)
    assert "left aside, it is of another refresh" in told.text


@pytest.mark.parametrize("what", ["network", "choice of trained weights"])
def test_a_checkpoint_of_a_network_that_was_mended_is_left_aside(
    tmp_path: Path, told: pytest.LogCaptureFixture, what: str
) -> None:
    """The code of a model of one's own is no part of the configuration."""
    path = tmp_path / "small.safetensors"
    before = small_pipeline(training={"checkpoint_steps": 4, "epochs": 1})
    rows = in_memory(before, ROWS)

    def run(pipeline: Pipeline, path: Path, *, frozen: bool) -> dict[str, Tensor]:
        model = build_model(small_card(pipeline), seed=1)
        next(model.parameters()).requires_grad_(not frozen)
        fit(model, rows, "binary", pipeline.training, checkpoint=Checkpoint(path, BELONGS))
        return dict(model.state_dict())

    run(before, path, frozen=False)
    frozen = what != "network"
    hidden = [16, 8] if frozen else [12, 8]
    after = small_pipeline(model={"hidden": hidden}, training={"checkpoint_steps": 4, "epochs": 1})
    anew = run(after, tmp_path / "none", frozen=frozen)
    assert equal(run(after, path, frozen=frozen), anew)
    assert f"left aside, it is of another {what}" in told.text


def test_a_file_that_is_no_checkpoint_is_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    path.write_bytes(b"not a checkpoint")
    assert equal(trained(path, epochs=1), trained(None, epochs=1))
