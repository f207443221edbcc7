"""The metrics of an evaluation, against scikit-learn and by their definitions."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from tests.helpers.trainer_tables import (
    chance,
    random_rows,
    small_pipeline,
)
from trainer.fitting.loss import row_loss
from trainer.promotion.evaluate import evaluate


def test_metrics_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(10)
    label = (random.random(500) < 0.3).astype(np.float32)
    logit = np.round(random.normal(size=500) + label, 1)  # rounded: ties
    metrics = evaluate("binary", logit, label)
    probability = 1 / (1 + np.exp(-logit))
    assert metrics["auc"] == pytest.approx(roc_auc_score(label, logit))
    assert metrics["loss"] == pytest.approx(log_loss(label, probability))
    assert metrics["calibration_ratio"] == pytest.approx(probability.mean() / label.mean())
    assert metrics["rows"] == 500
    logits = random.normal(size=(500, 4))
    classes = random.integers(0, 4, 500)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wanted = pytest.approx(log_loss(classes, shares))
    assert evaluate("multiclass", logits, classes)["loss"] == wanted


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_the_gate_measures_a_regression_by_the_loss_it_is_trained_with(loss: str) -> None:
    pipeline = small_pipeline("regression", training={"loss": loss, "huber_delta": 1.5})
    output, label = np.random.default_rng(1).normal(size=(2, 100)).astype(np.float32) * 3
    each = row_loss("regression", pipeline.training)(
        torch.from_numpy(output)[:, None], torch.from_numpy(label), torch.zeros(100)
    )
    metrics = evaluate("regression", output, label, pipeline.training)
    assert metrics["loss"] == pytest.approx(each.mean().item(), rel=1e-5)


def test_a_calibrated_prediction_has_a_small_calibration_error() -> None:
    rows = random_rows(50_000, seed=11)
    logit = np.log(chance(rows) / (1 - chance(rows)))
    assert evaluate("binary", logit, rows["label"])["calibration_error"] < 0.01
    assert evaluate("binary", logit + 1, rows["label"])["calibration_error"] > 0.1


def test_metrics_that_the_rows_do_not_define_are_left_out() -> None:
    assert evaluate("binary", np.zeros(0), np.zeros(0)) == {"rows": 0}
    metrics = evaluate("binary", np.array([800.0, -800.0]), np.zeros(2))
    assert metrics["loss"] == 400
    assert not {"auc", "calibration_ratio"} & set(metrics)
    assert evaluate("binary", np.zeros(4), np.array([0, 1, 0, 1]))["auc"] == 0.5
