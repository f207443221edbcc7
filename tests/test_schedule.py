"""The learning rate always ends at 0, and a fit that does not get better ends early."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from schemas.sections.training import Training
from tests.helpers.trainer_tables import (
    in_memory,
    random_rows,
    small_card,
    small_pipeline,
    write_refresh,
)
from trainer.data.epoch import held_back
from trainer.data.refresh import open_refresh
from trainer.data.sample import Sample, Streamed
from trainer.data.sample import in_memory as kept
from trainer.fitting.fit import History, fit
from trainer.fitting.schedule import last_epoch, rate
from trainer.models.model import build_model
from trainer.processes.ranks import Ranks

PATIENT = Training(epochs=20, patience=2, learning_rate=1.0)
ROWS = random_rows(600, seed=4)


def test_without_patience_the_rate_is_one_cosine() -> None:
    settings = Training(epochs=4, learning_rate=1.0)
    rates = [rate(done, [], settings) for done in (0, 1, 2, 3, 4)]
    assert rates == pytest.approx([1, 0.8536, 0.5, 0.1464, 0], abs=1e-4)
    assert last_epoch([0.3, 0.4, 0.5], settings) == 4


@pytest.mark.parametrize(
    ("losses", "end"),
    [
        ([], 20),
        ([5, 4, 3, 2], 20),
        ([5, 4, 4.1, 4.2], 8),  # two epochs no better after the fourth; a fifth of 20 to decay
        ([5, 4, 4.1, 4.2, 4, 3, 2, 1], 8),  # what comes afterwards changes nothing
        ([5, 4, 4.1, 3.9, 4, 4], 10),
        ([5, 4] + [4.5] * 18, 8),
        (list(range(40, 25, -1)) + [50] * 3, 20),  # too late to end earlier
    ],
)
def test_the_end_comes_a_fifth_of_the_epochs_after_patience_is_lost(
    losses: list[float], end: int
) -> None:
    assert last_epoch(losses, PATIENT) == end
    assert rate(end - 4, losses, PATIENT) == pytest.approx(1)
    assert rate(end, losses, PATIENT) == pytest.approx(0)


def test_patience_that_cannot_be_lost_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"do not fit into training\.epochs = 8"):
        Training(epochs=8, patience=8)


# The fit.


def fitted(sample: Sample, **training: object) -> tuple[History, dict[str, torch.Tensor]]:
    settings = {"epochs": 40, "patience": 1, "learning_rate": 0.05} | training
    pipeline = small_pipeline(training=settings)
    model = build_model(small_card(pipeline), seed=1)
    history = fit(model, sample, "binary", pipeline.training, ranks=Ranks())
    return history, dict(model.state_dict())


def test_a_fit_that_does_not_get_better_ends_early() -> None:
    history, _ = fitted(kept(in_memory(small_pipeline(), ROWS)))
    assert len(history.losses) == len(history.validation) < 40
    assert len(history.losses) == last_epoch(history.validation, Training(epochs=40, patience=1))


def test_rows_held_back_are_not_learnt_from() -> None:
    mask = held_back(600, 0.1, 1)
    assert mask.sum() == 60
    flipped = ROWS | {"label": np.where(mask, 1 - ROWS["label"], ROWS["label"])}
    # The same number of epochs for both: only then do equal weights mean that nothing was learnt.
    samples = [kept(in_memory(small_pipeline(), rows)).without(mask)[0] for rows in (ROWS, flipped)]
    one, other = (fitted(sample, patience=None, epochs=3)[1] for sample in samples)
    names = [name for name in one if name != "head.bias"]
    assert all(torch.equal(one[name], other[name]) for name in names)


def test_a_stream_holds_the_same_rows_back(tmp_path: Path) -> None:
    pipeline = small_pipeline(training={"shuffle_rows": 250})
    write_refresh(tmp_path, pipeline, "first", ROWS)
    stream = Streamed(pipeline, open_refresh(str(tmp_path), pipeline, "first"))
    memory = kept(in_memory(pipeline, ROWS))
    history, weights = fitted(stream)
    same, others = fitted(memory)
    assert history.validation == same.validation
    assert all(torch.equal(weights[name], others[name]) for name in weights)
