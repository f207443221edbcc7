"""Uneven weights: a fit ends at the least weighted loss of the sample, whatever its batches.

A batch's weighted loss is divided by its rows times the sample's mean weight, so that its expected
gradient is that of the sample. Divided by its own weights a batch would be a ratio of two random
sums, whose mean is not the ratio of their means.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from schemas.errors import DataQualityError
from schemas.pipeline import Pipeline
from tests.helpers.trainer_tables import (
    Columns,
    in_memory,
    random_rows,
    small_card,
    small_pipeline,
    write_refresh,
)
from tests.test_ranks import on_ranks
from trainer.data.epoch import held_back
from trainer.data.passes import PASSES
from trainer.data.reader import Rows
from trainer.data.refresh import open_refresh
from trainer.data.sample import Sample, Streamed
from trainer.data.sample import in_memory as kept
from trainer.data.survey import survey_of
from trainer.fitting.fit import History, fit
from trainer.fitting.loss import row_loss
from trainer.fitting.trials import Assignment, Trials
from trainer.models.export import predict
from trainer.models.model import build_model, standardise
from trainer.processes.ranks import Ranks

LINEAR = {"name": "logistic-regression"}
COUNT = 203  # neither 2 nor 3 ranks divide the last batch of 64, which is short


def linear(**training: Any) -> Pipeline:
    plain = {"weight_decay": 0.0, "optimizer": "sgd", "momentum": 0.0}
    return small_pipeline(model=LINEAR, training=plain | training)


def uneven(count: int, seed: int = 1) -> Columns:
    """One number that matters; a row in twenty weighs two hundred times as much as the others, and
    a row that contradicts the number four times as much again. 2,048 rows count as 81.
    """
    random = np.random.default_rng(seed)
    number = random.normal(size=count)
    label = random.random(count) < 1 / (1 + np.exp(-0.5 * number))
    weight = np.where(random.random(count) < 0.05, 40.0, 0.2)
    weight[(number > 0) != label] *= 4
    none = np.zeros(count, np.float32)
    return {
        "shop": none.astype(np.int32),
        "slot": none.astype(np.int32),
        "price": number.astype(np.float32),
        "age": none,
        "label": label.astype(np.float32),
        "weight": weight.astype(np.float32),
    }


# The optimum.


def begun(rows: Columns) -> nn.Module:
    """A logistic regression before its first step."""
    model = build_model(small_card(linear()), seed=1)
    standardise(model, survey_of([in_memory(linear(), rows)], "binary"))
    return model


def slope(model: nn.Module, rows: Columns) -> float:
    """The logit's slope in the number."""
    two = {name: column[:2] for name, column in rows.items()} | {"price": np.float32([0, 1])}
    low, high = predict(model, in_memory(linear(), two))[:, 0]
    return float(high - low)


def found(rows: Columns, **training: Any) -> float:
    """The slope that a fit on batches ends with."""
    pipeline, model = linear(**training), begun(rows)
    data = in_memory(pipeline, rows)
    fit(model, data, "binary", pipeline.training, pulled=True, ranks=Ranks())
    return slope(model, rows)


def least(rows: Columns, pull: float = 0.0) -> float:
    """The slope at the least of weighted mean loss + pull x squared distance, by a quasi-Newton
    method on all rows at once."""
    model, data = begun(rows).double(), in_memory(linear(), rows)
    parameters = list(model.parameters())
    anchors = [parameter.detach().clone() for parameter in parameters]
    search = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        search.zero_grad()
        away = sum(((p - a) ** 2).sum() for p, a in zip(parameters, anchors, strict=True))
        value = mean_loss(model, data) + pull * away
        value.backward()
        return value

    search.step(step)
    return slope(model.float(), rows)


def mean_loss(model: nn.Module, data: Rows) -> Tensor:
    """The weighted mean loss of all rows, in double precision."""
    columns = (data.numbers, data.label, data.weight, data.offset)
    numbers, label, weight, offset = (torch.from_numpy(column).double() for column in columns)
    output, _ = model(torch.from_numpy(data.categories), numbers)
    loss = row_loss("binary", linear().training)(output, label, offset)
    return (loss * weight).sum() / weight.sum()


@pytest.mark.parametrize("training", [("sgd", 0.1), ("adamw", 0.03)])
@pytest.mark.parametrize("batch_size", [16, 64])
def test_the_fit_ends_at_the_weighted_optimum_whatever_the_size_of_its_batches(
    batch_size: int, training: tuple[str, float]
) -> None:
    rows, (optimizer, rate) = uneven(2048), training
    settings = {"optimizer": optimizer, "learning_rate": rate, "epochs": 20}
    # What the noise of the last steps leaves: 0.025 at most with three seeds. Divided by their own
    # weights, batches of 64 ended 0.3 from the optimum, those of 16 farther.
    assert found(rows, batch_size=batch_size, **settings) == pytest.approx(least(rows), abs=0.03)


@pytest.mark.parametrize("batch_size", [16, 64])
def test_the_pull_stands_beside_the_mean_loss(batch_size: int) -> None:
    rows, pull = uneven(2048), 0.05
    settings = {"learning_rate": 0.1, "epochs": 20, "pull": pull}
    pulled = least(rows, pull)
    assert abs(pulled - least(rows)) > 0.1
    assert found(rows, batch_size=batch_size, **settings) == pytest.approx(pulled, abs=0.03)


def test_weights_times_a_constant_give_the_same_fit() -> None:
    rows = uneven(400)
    fits = [
        fitted(kept(in_memory(linear(), rows | {"weight": rows["weight"] * factor})), clip=1.0)
        for factor in (1, 1024)  # a power of two: to the bit
    ]
    (one, first), (other, second) = fits
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert one.losses == other.losses


# A batch's gradient.


def fitted(
    sample: Sample, ranks: Ranks | None = None, **training: Any
) -> tuple[History, dict[str, Tensor]]:
    pipeline = linear(**training)
    model = build_model(small_card(pipeline), seed=1)
    history = fit(model, sample, "binary", pipeline.training, ranks=ranks or Ranks())
    return history, dict(model.state_dict())


@contextmanager
def gradients() -> Iterator[list[Tensor]]:
    """Collects the gradient, all parameters together, of every step of SGD meanwhile."""
    seen: list[Tensor] = []

    def look(optimizer: torch.optim.Optimizer, *_: object) -> None:
        if isinstance(optimizer, torch.optim.SGD):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            seen.append(torch.cat([weight.grad.flatten().double() for weight in weights]))

    handle = register_optimizer_step_pre_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


STILL = {"learning_rate": 1e-30, "epochs": 1}  # the parameters stay where they are


def of_an_epoch(sample: Sample, ranks: Ranks, **training: Any) -> Tensor:
    """The gradients of an epoch's batches, averaged by their rows."""
    settings = STILL | training
    with gradients() as seen:
        fitted(sample, ranks, **settings)
    rows = torch.tensor([64.0, 64, 64, 11], dtype=torch.float64)
    return rows @ torch.stack(seen) / COUNT


def of_the_sample(rows: Columns) -> Tensor:
    """The gradient of the weighted mean loss of all rows, all parameters together."""
    model = build_model(small_card(linear()), seed=1).double()
    mean_loss(model, in_memory(linear(), rows)).backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def weighted() -> Columns:
    """Rows of uneven weights; every tenth is a row like any other that weighs nothing."""
    rows = random_rows(COUNT, seed=4)
    weight = np.random.default_rng(5).lognormal(0, 2, COUNT)
    weight[::10] = 0
    return rows | {"weight": weight.astype(np.float32)}


ROWS = weighted()


def assert_gradients_equal(one: Tensor, other: Tensor) -> None:
    # Sums of single precision over 203 rows, relative to the largest element.
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_the_gradients_of_an_epoch_average_to_that_of_the_sample() -> None:
    average = of_an_epoch(kept(in_memory(linear(), ROWS)), Ranks())
    assert_gradients_equal(average, of_the_sample(ROWS))


def test_so_do_those_of_a_stream(tmp_path: Path) -> None:
    pipeline = linear(shuffle_rows=50)
    write_refresh(tmp_path, pipeline, "first", ROWS)
    stream = Streamed(pipeline, open_refresh(str(tmp_path), pipeline, "first"))
    average = of_an_epoch(stream, Ranks(), shuffle_rows=50)
    assert_gradients_equal(average, of_the_sample(ROWS))


def on_a_rank(ranks: Ranks) -> Tensor:
    return of_an_epoch(kept(in_memory(linear(), ROWS)), ranks)


@pytest.mark.parametrize("world", [2, 3])
def test_so_do_those_of_several_ranks(world: int, tmp_path: Path) -> None:
    assert on_ranks(world, tmp_path, on_a_rank) == [0] * world
    for rank in range(world):
        assert_gradients_equal(torch.load(tmp_path / f"{rank}.pt"), of_the_sample(ROWS))


# Rows that are held back to validate are none of a batch's rows.


PATIENT = {"patience": 1, "epochs": 2}


def test_the_gradients_of_the_rows_not_held_back_average_to_their_own() -> None:
    data, mask = in_memory(linear(), ROWS), held_back(COUNT, 0.1, 1)
    sample, _ = kept(data).without(mask)
    settings = linear().training
    counts = [batch.rows for batch in sample.epoch(0, settings, Ranks())]
    assert sum(counts) == COUNT - mask.sum()
    with gradients() as seen:
        fitted(kept(data), **STILL | PATIENT)
    rows = torch.tensor(counts, dtype=torch.float64)
    average = rows @ torch.stack(seen[: len(counts)]) / sum(counts)
    assert_gradients_equal(average, of_the_sample({n: c[~mask] for n, c in ROWS.items()}))


def test_a_batch_that_is_held_back_whole_moves_nothing() -> None:
    with gradients() as seen:
        fitted(kept(in_memory(linear(), ROWS)), **STILL | PATIENT | {"batch_size": 1})
    still = [not gradient.any() for gradient in seen[:COUNT]]
    none = held_back(COUNT, 0.1, 1) | (ROWS["weight"] == 0)
    assert sum(still) == none.sum()


# What is reported.


def test_an_epochs_loss_is_the_weighted_mean_of_its_rows_losses() -> None:
    # Standing still, every step meets the same parameters; the last batch of 11 rows counts as 11.
    data = in_memory(linear(), ROWS)
    history, _ = fitted(kept(data), **STILL)
    model = build_model(small_card(linear()), seed=1).double()
    assert history.losses == pytest.approx([mean_loss(model, data).item()], rel=1e-6)


# Where the mean weight comes from.


def test_the_mean_weight_of_a_stream_costs_no_further_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = linear(epochs=2)
    write_refresh(tmp_path, pipeline, "first", ROWS)
    refresh = open_refresh(str(tmp_path), pipeline, "first")
    stream, card = Streamed(pipeline, refresh), small_card(pipeline)
    mean = survey_of(stream.parts(), "binary").mean_weight
    passes, read = [], PASSES["petastorm"]
    monkeypatch.setitem(PASSES, "petastorm", lambda *what: passes.append(1) or read(*what))
    given = Assignment(
        name="small", card=card, warm=False, carried=False, pulls=(0.0,), mean_weight=mean
    )
    trials = Trials(given, pipeline, refresh, stream, str(tmp_path), Ranks())
    [streamed] = trials.fit(lambda: build_model(card, seed=1)).values()
    assert len(passes) == 2 + 1  # an epoch each, and the intercept
    history, weights = fitted(kept(in_memory(pipeline, ROWS)), epochs=2)
    assert history.losses == streamed.history.losses
    assert all(torch.equal(weights[n], value) for n, value in streamed.model.state_dict().items())


@pytest.mark.parametrize("weight", [0.0, np.nan, np.inf])
def test_weights_that_nothing_can_be_divided_by_are_refused(weight: float) -> None:
    rows = ROWS | {"weight": np.full(COUNT, weight, np.float32)}
    with pytest.raises(DataQualityError, match=rf"weight: .* sum to {weight:g}, .*Remedy: select"):
        fitted(kept(in_memory(linear(), rows)))


@pytest.mark.parametrize(("held", "which"), [(True, "held back"), (False, "not held back")])
def test_so_are_those_of_the_rows_held_back_and_of_the_others(held: bool, which: str) -> None:
    weight = (held_back(COUNT, 0.1, 1) != held).astype(np.float32)
    with pytest.raises(DataQualityError, match=f"rows {which} by training.patience .* sum to 0"):
        fitted(kept(in_memory(linear(), ROWS | {"weight": weight})), **PATIENT)
