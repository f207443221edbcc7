"""Metrics of predictions on a set of rows: pure NumPy, larger sets give the same numbers.

`loss` is what the gate compares: log loss (binary, multiclass), or the loss of a regression by the
name it is trained with.
A metric that the rows do not define (AUC of one class alone) is left out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.pipeline import Task
from schemas.training import Training

Metrics = dict[str, float]
BINS = 10


def evaluate(
    task: Task, output: NDArray[Any], label: NDArray[Any], settings: Training | None = None
) -> Metrics:
    """Metrics of outputs (n,) or (n, classes) on labels (n,); only `rows` when n is 0."""
    if len(label) == 0:
        return {"rows": 0.0}
    metrics = EVALUATIONS[task](np.asarray(output, np.float64), np.asarray(label, np.float64))
    if task == "regression" and settings is not None:
        error = np.abs(np.asarray(output, np.float64) - label)
        metrics["loss"] = float(np.mean(REGRESSION[settings.loss](error, settings.huber_delta)))
    return {"rows": float(len(label))} | metrics


def _binary(logit: NDArray[np.float64], label: NDArray[np.float64]) -> Metrics:
    probability = 0.5 * (1 + np.tanh(0.5 * logit))
    metrics = {
        "loss": float(np.mean(np.logaddexp(0, logit) - label * logit)),
        "calibration_error": calibration_error(probability, label),
    }
    if label.mean() > 0:
        metrics["calibration_ratio"] = float(probability.mean() / label.mean())
    if 0 < label.mean() < 1:
        metrics["auc"] = auc(logit, label)
    return metrics


def _multiclass(logits: NDArray[np.float64], label: NDArray[np.float64]) -> Metrics:
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    right = logits.argmax(axis=1) == label
    chosen = logits[np.arange(len(label)), label.astype(np.int64)]
    return {
        "loss": float(np.mean(total - chosen)),
        "accuracy": float(np.mean(right)),
        "calibration_error": calibration_error(np.exp(top - total), right.astype(np.float64)),
    }


def _regression(value: NDArray[np.float64], label: NDArray[np.float64]) -> Metrics:
    return {
        "loss": float(np.mean((value - label) ** 2)),
        "mse": float(np.mean((value - label) ** 2)),
        "mae": float(np.mean(np.abs(value - label))),
    }


EVALUATIONS: dict[Task, Callable[[NDArray[np.float64], NDArray[np.float64]], Metrics]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}


# A loss of the size of an error and Huber's delta; the twins of `trainer/loss.py`.
REGRESSION: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.float64]]] = {
    "squared": lambda error, _: error**2,
    "absolute": lambda error, _: error,
    "huber": lambda error, delta: np.where(
        error <= delta, 0.5 * error**2, delta * (error - 0.5 * delta)
    ),
}


def auc(score: NDArray[np.float64], label: NDArray[np.float64]) -> float:
    """Chance that a positive scores above a negative, ties counting half."""
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    positives = label.sum()
    negatives = len(label) - positives
    above = rank[label > 0].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def calibration_error(probability: NDArray[np.float64], label: NDArray[np.float64]) -> float:
    """Mean |predicted - observed| over ten groups of equal size by predicted probability."""
    groups = np.array_split(np.argsort(probability, kind="stable"), BINS)
    gaps = [abs((probability[g] - label[g]).sum()) for g in groups if len(g)]
    return float(sum(gaps) / len(label))
