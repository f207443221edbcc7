"""The last step of a fit: the training rows meet their own totals, so that the candidates do."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.helpers.trainer_tables import Columns, in_memory, random_rows, small_card, small_pipeline
from trainer.data.survey import survey_of
from trainer.fitting.fit import fit
from trainer.models.export import predict
from trainer.models.model import build_model, standardise


def served(rows: Columns, task: str = "binary", outputs: int = 1, **training: Any) -> np.ndarray:
    """What a model that was stopped early answers for its own rows."""
    pipeline = small_pipeline(task, training={"epochs": 2, "batch_size": 256} | training)
    model = build_model(small_card(pipeline, outputs), seed=1)
    data = in_memory(pipeline, rows)
    standardise(model, survey_of([data], task))
    fit(model, data, task, pipeline.training)
    return predict(model, data).astype(np.float64)


def weighted(count: int) -> Columns:
    random = np.random.default_rng(12)
    return {
        "weight": random.uniform(0.2, 3, count).astype(np.float32),
        "offset": random.normal(size=count).astype(np.float32),
    }


def test_weighted_residuals_under_the_offsets_sum_to_zero() -> None:
    rows = random_rows(1500, seed=13) | weighted(1500)
    predicted = 1 / (1 + np.exp(-(served(rows)[:, 0] + rows["offset"])))
    residual = np.average(predicted - rows["label"], weights=rows["weight"])
    assert abs(residual) < 1e-6


def test_every_class_and_the_mean_of_a_regression_are_met() -> None:
    rows = random_rows(900, seed=14)
    classes = rows | {"label": (rows["slot"] % 3).astype(np.float32)}
    shares = F.softmax(torch.from_numpy(served(classes, "multiclass", 3)), dim=1).mean(dim=0)
    assert shares.tolist() == pytest.approx(np.bincount(rows["slot"] % 3) / 900, abs=1e-5)
    value = rows | {"label": rows["price"]}
    assert served(value, "regression").mean() == pytest.approx(value["label"].mean(), rel=1e-5)


def test_a_sample_of_one_class_sends_no_intercept_to_infinity() -> None:
    rows = random_rows(300, seed=15)
    assert np.abs(served(rows | {"label": np.zeros(300, np.float32)})).max() < 10


def test_the_served_ratio_is_within_2_percent_after_weighted_selection() -> None:
    population = random_rows(40_000, seed=16)
    pi = np.where(population["label"] == 1, 0.4, 0.05)
    ratios = []
    for seed in range(5):
        drawn = np.random.default_rng(seed).random(len(pi)) < pi
        sample = {name: column[drawn] for name, column in population.items()}
        offset = np.full(drawn.sum(), np.log(0.4 / 0.05), np.float32)
        # Weights such that the drawn rows of each label are as many as they should be.
        due = [pi[population["label"] == y].sum() / (sample["label"] == y).sum() for y in (0, 1)]
        weight = np.array(due, np.float32)[sample["label"].astype(int)]
        pipeline = small_pipeline(training={"epochs": 12})
        model = build_model(small_card(pipeline), seed=1)
        data = in_memory(pipeline, sample | {"offset": offset, "weight": weight})
        standardise(model, survey_of([data], "binary"))
        fit(model, data, "binary", pipeline.training)
        logit = predict(model, in_memory(pipeline, population))[:, 0].astype(np.float64)
        ratios.append((1 / (1 + np.exp(-logit))).mean() / population["label"].mean())
    assert ratios == pytest.approx([1] * 5, abs=0.02)
