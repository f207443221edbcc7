"""What a prediction means for each task: its loss and its residual."""

import numpy as np

from schemas import statistics
from schemas.errors import ConfigurationError
from schemas.statistics import summarised
from spark_jobs.selection.arrays import Array

TASKS = ("binary", "multiclass", "regression")


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def softmax(logits: Array) -> Array:
    """Rows of `logits` (n, C) as probabilities."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def class_probabilities(task: str, prediction: Array) -> Array:
    """Probability of each class, shape (n, C); two classes where the task is binary."""
    if task == "multiclass":
        _require_logits(prediction)
        return softmax(prediction)
    positive = sigmoid(prediction)
    return np.stack([1.0 - positive, positive], axis=1)


def loss(task: str, prediction: Array, label: Array) -> Array:
    """Loss of each row, shape (n,): log loss in nats, or half the squared error."""
    if task == "binary":
        return np.logaddexp(0.0, prediction) - label * prediction
    if task == "multiclass" and summarised(prediction):
        return -np.log(np.maximum(statistics.chance_of(prediction, label), 1e-300))
    if task == "multiclass":
        probability = softmax(prediction)[np.arange(label.size), label.astype(np.int64)]
        return -np.log(np.maximum(probability, 1e-300))
    return 0.5 * (prediction - label) ** 2


def residual(task: str, prediction: Array, label: Array) -> Array:
    """Gradient of the loss by the prediction, shape (n, m): m classes, else m = 1.

    Of more than 16 classes a fixed projection of it to 16 numbers (`schemas/statistics.py`).
    """
    if task == "binary":
        return (sigmoid(prediction) - label)[:, None]
    if task == "multiclass" and summarised(prediction):
        return statistics.residual(prediction, label)
    if task == "multiclass":
        gap = softmax(prediction)
        gap[np.arange(label.size), label.astype(np.int64)] -= 1.0
        return gap
    return (prediction - label)[:, None]


def residual_norm(task: str, prediction: Array, label: Array) -> Array:
    """Euclidean norm of the whole residual, shape (n,)."""
    if task == "multiclass" and summarised(prediction):
        return statistics.residual_norm(prediction, label)
    gap = residual(task, prediction, label)
    return np.abs(gap[:, 0]) if gap.shape[1] == 1 else np.linalg.norm(gap, axis=1)


def entropy(task: str, prediction: Array) -> Array:
    """Entropy of the predicted class in nats, shape (n,)."""
    if task == "multiclass" and summarised(prediction):
        return prediction[:, statistics.ENTROPY]
    p = class_probabilities(task, prediction)
    return -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)


def margin(task: str, prediction: Array) -> Array:
    """p1 - p2 of the two likeliest classes, shape (n,)."""
    if task == "multiclass" and summarised(prediction):
        return statistics.margin(prediction)
    p = np.sort(class_probabilities(task, prediction), axis=1)
    return p[:, -1] - p[:, -2]


def _require_logits(prediction: Array) -> None:
    if summarised(prediction):
        raise ConfigurationError(
            "records: of more than 16 classes the probability of each is not kept, and this needs"
            ' it. Remedy: write selection.unmatured = "wait", and compare policies by training.'
        )
