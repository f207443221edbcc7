"""The fit: reproducible, weighted, calibrated under offsets, pulled to its parent."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import Pipeline, load_pipeline
from tests.helpers.trainer_tables import (
    Columns,
    chance,
    in_memory,
    random_rows,
    small_card,
    small_pipeline,
)
from trainer.data.survey import survey_of
from trainer.fitting.fit import _distance, _pull, fit
from trainer.fitting.loss import row_loss, weighted_mean
from trainer.models.export import predict
from trainer.models.model import build_model, standardise
from trainer.promotion.evaluate import evaluate

PIPELINE = small_pipeline()
ROWS = random_rows(600, seed=4)


def trained(
    pipeline: Pipeline, rows: Columns, outputs: int = 1, parent: dict[str, Tensor] | None = None
) -> nn.Module:
    """A fresh model, or one that starts at `parent`, fitted to the rows."""
    model = build_model(small_card(pipeline, outputs), pipeline.training.seed)
    data = in_memory(pipeline, rows)
    if parent is None:
        standardise(model, survey_of([data], pipeline.task))
    else:
        model.load_state_dict(parent)
    fit(model, data, pipeline.task, pipeline.training, pulled=parent is not None)
    return model


def served(model: nn.Module, pipeline: Pipeline, rows: Columns) -> Any:
    """What the model serves: outputs without any offset."""
    return predict(model, in_memory(pipeline, rows))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


# Reproducible.


def test_training_is_bitwise_reproducible_whatever_the_threads_and_the_global_generator() -> None:
    torch.manual_seed(1)
    first = weights(trained(PIPELINE, ROWS))
    torch.manual_seed(2)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert same(first, weights(trained(PIPELINE, ROWS)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_another_seed_gives_another_model() -> None:
    other = small_pipeline(training={"seed": 2})
    assert not same(weights(trained(PIPELINE, ROWS)), weights(trained(other, ROWS)))


def test_building_a_model_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build_model(small_card(PIPELINE), seed=1)
    assert torch.equal(before, torch.get_rng_state())


# Weighted.


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    loss = torch.tensor([0.5, 2.0])
    twice = weighted_mean(loss[[0, 1, 1]], torch.ones(3))
    assert weighted_mean(loss, torch.tensor([1.0, 2.0])) == twice


def test_padding_changes_nothing_and_a_batch_of_padding_has_no_loss() -> None:
    loss = torch.tensor([0.5, 2.0, 9.0])
    padded = weighted_mean(loss, torch.tensor([1.0, 1.0, 0.0]))
    assert padded == weighted_mean(loss[:2], torch.ones(2))
    assert weighted_mean(loss, torch.zeros(3)) == 0


def test_rows_of_weight_zero_do_not_move_the_model() -> None:
    half = ROWS | {"weight": np.repeat([1, 0], 300).astype(np.float32)}
    flipped = half | {"label": np.where(half["weight"] > 0, ROWS["label"], 1 - ROWS["label"])}
    still = small_pipeline(training={"weight_decay": 0.0})
    assert same(weights(trained(still, half)), weights(trained(still, flipped)))


def test_numbers_are_standardised_by_weighted_moments_and_a_constant_is_kept() -> None:
    model = build_model(small_card(PIPELINE), seed=1)
    three = {name: column[:3] for name, column in ROWS.items()}
    odd = {"price": np.array([1, 3, 100], np.float32), "age": np.full(3, 5, np.float32)}
    odd["weight"] = np.array([1, 1, 0], np.float32)
    standardise(model, survey_of([in_memory(PIPELINE, three | odd)], "binary"))
    assert model.get_buffer("mean").tolist() == [2, 5]
    assert model.get_buffer("scale").tolist() == [1, 1]


# Offsets.


def test_the_offset_is_used_in_training_only_so_that_what_serves_is_calibrated() -> None:
    population = random_rows(40_000, seed=5)
    pi = np.where(population["label"] == 1, 0.4, 0.05)
    drawn = np.random.default_rng(6).random(len(pi)) < pi
    sample = {name: column[drawn] for name, column in population.items()}
    offset = np.full(drawn.sum(), np.log(0.4 / 0.05), np.float32)
    pipeline = small_pipeline(training={"epochs": 8})

    def ratio(rows: Columns) -> float:
        logit = served(trained(pipeline, rows), pipeline, population)[:, 0]
        return evaluate("binary", logit, chance(population))["calibration_ratio"]

    assert ratio(sample | {"offset": offset}) == pytest.approx(1, abs=0.05)
    assert ratio(sample) > 1.8


# Warm starts.


def test_a_gpu_pulls_by_the_gradient_of_the_squared_distance() -> None:
    """Added to the gradients there are, and to those that a parameter without a part has not."""
    seed = torch.Generator().manual_seed(1)
    anchors = [
        (nn.Parameter(torch.randn(shape, generator=seed)), torch.randn(shape, generator=seed))
        for shape in ((3, 2), (4,), (2,))
    ]
    weights = [weight for weight, _ in anchors]
    own = sum((weight**3).sum() for weight in weights[:2])
    (own + 0.3 * _distance(anchors)).backward(retain_graph=True)
    expected = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    own.backward()
    assert weights[2].grad is None
    _pull(anchors, 0.3)
    for weight, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient)


def test_a_warm_start_is_pulled_to_its_parent() -> None:
    parent = weights(trained(PIPELINE, ROWS))

    def distance(pull: float) -> float:
        pipeline = small_pipeline(training={"pull": pull})
        child = trained(pipeline, random_rows(600, seed=7), parent=parent)
        moved = [(p - parent[n]).pow(2).sum() for n, p in child.named_parameters()]
        return float(torch.stack(moved).sum().detach())

    free, pulled, held = distance(0.0), distance(0.1), distance(100.0)
    assert free > 2 * pulled > 4 * held > 0


def test_a_warm_start_keeps_the_moments_and_the_projection_of_its_parent() -> None:
    parent = weights(trained(PIPELINE, ROWS))
    shifted = ROWS | {"price": ROWS["price"] + 1000}
    child = weights(trained(PIPELINE, shifted, parent=parent))
    assert all(torch.equal(parent[n], child[n]) for n in ("mean", "scale", "projection"))


def test_the_sketch_is_a_fixed_orthonormal_projection_of_the_last_hidden_layer() -> None:
    pipeline = small_pipeline(model={"hidden": [16, 24]})
    model = build_model(small_card(pipeline), seed=1)
    other = build_model(small_card(pipeline), seed=2)
    projection = model.get_buffer("projection")
    assert projection.shape == (24, 16)
    torch.testing.assert_close(projection.T @ projection, torch.eye(16))
    assert torch.equal(projection, other.get_buffer("projection"))
    _, sketch = model(torch.zeros((5, 2), dtype=torch.int64), torch.randn((5, 2)))
    assert sketch.shape == (5, 16)


# Other tasks, bad input.


def test_the_regression_pipeline_is_the_flights_with_another_label() -> None:
    delay, flights = (load_pipeline(f"pipelines/{name}.toml") for name in ("delay", "flights"))
    assert (delay.task, delay.labels.label) == ("regression", "arrival_delay")
    assert (delay.features, delay.feature_views) == (flights.features, flights.feature_views)
    assert (delay.training.loss, delay.training.huber_delta) == ("huber", 30.0)


def test_regression_learns_a_value() -> None:
    rows = random_rows(2000, seed=8)
    rows["label"] = (rows["price"] / 20 + rows["slot"]).astype(np.float32)
    pipeline = small_pipeline("regression", training={"epochs": 20})
    metrics = evaluate(
        "regression", served(trained(pipeline, rows), pipeline, rows)[:, 0], rows["label"]
    )
    assert metrics["loss"] < 0.2 * rows["label"].var()
    assert metrics["mae"] < 1


@pytest.mark.parametrize(("loss", "wanted"), [("squared", 10.0), ("absolute", 0.0)])
def test_squared_loss_fits_the_mean_and_absolute_loss_the_median(loss: str, wanted: float) -> None:
    rows = random_rows(400, seed=8)
    rows["label"] = np.where(np.arange(400) % 10 == 0, 100, 0).astype(np.float32)
    rows |= {name: np.zeros_like(rows[name]) for name in ("shop", "slot", "price", "age")}
    settings = {"loss": loss, "epochs": 150, "batch_size": 400, "learning_rate": 0.05}
    pipeline = small_pipeline("regression", training=settings | {"weight_decay": 0.0})
    value = served(trained(pipeline, rows), pipeline, rows)[0, 0]
    assert value == pytest.approx(wanted, abs=1.0)


def test_huber_loss_is_square_up_to_delta_and_linear_beyond() -> None:
    settings = small_pipeline("regression", training={"loss": "huber", "huber_delta": 2.0}).training
    loss = row_loss("regression", settings)(
        torch.tensor([[1.0], [10.0]]), torch.zeros(2), torch.zeros(2)
    )
    assert loss.tolist() == [0.5, 2.0 * (10 - 1)]


def test_a_gradient_is_clipped_and_bf16_trains() -> None:
    still = small_pipeline(training={"optimizer": "sgd", "clip": 1e-6, "weight_decay": 0.0})
    model = build_model(small_card(still), still.training.seed)
    before = weights(model)
    fit(model, in_memory(still, ROWS), "binary", still.training)
    moved = {name: (weight - before[name]).abs().max() for name, weight in model.named_parameters()}
    assert 0 < max(moved.values()) < 1e-5
    half = small_pipeline(training={"precision": "bf16"})
    assert not same(weights(trained(half, ROWS)), weights(trained(PIPELINE, ROWS)))


def test_multiclass_learns_classes() -> None:
    rows = random_rows(2000, seed=9)
    rows["label"] = (rows["slot"] % 3).astype(np.float32)
    pipeline = small_pipeline("multiclass", training={"epochs": 12})
    metrics = evaluate(
        "multiclass", served(trained(pipeline, rows, outputs=3), pipeline, rows), rows["label"]
    )
    assert metrics["accuracy"] > 0.95
    assert metrics["loss"] < 0.3


def test_a_loss_that_is_not_finite_names_the_epoch_and_the_step() -> None:
    broken = ROWS | {"offset": np.zeros(600, np.float32)}
    broken["offset"][17] = np.nan
    with pytest.raises(DataQualityError, match=r"loss = nan in epoch 1, step \d+ of 10: .*Remedy"):
        trained(PIPELINE, broken)


def test_an_unknown_architecture_names_the_known() -> None:
    card = small_card(PIPELINE).model_copy(update={"architecture": "forest"})
    with pytest.raises(ConfigurationError, match=r"architecture = 'forest'.*embedding-mlp"):
        build_model(card, seed=1)


def test_off_a_terminal_a_short_training_says_one_line(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tenforward")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, logger="tenforward"):
            trained(PIPELINE, ROWS)
    finally:
        logger.removeHandler(caplog.handler)
    assert {record.getMessage()[:12] for record in caplog.records} == {"epoch 3 of 3"}
