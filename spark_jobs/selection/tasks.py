"""What a prediction means for each task: its loss and its residual."""

import numpy as np

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
        return softmax(prediction)
    positive = sigmoid(prediction)
    return np.stack([1.0 - positive, positive], axis=1)


def loss(task: str, prediction: Array, label: Array) -> Array:
    """Loss of each row, shape (n,): log loss in nats, or half the squared error."""
    if task == "binary":
        return np.logaddexp(0.0, prediction) - label * prediction
    if task == "multiclass":
        probability = softmax(prediction)[np.arange(label.size), label.astype(np.int64)]
        return -np.log(np.maximum(probability, 1e-300))
    return 0.5 * (prediction - label) ** 2


def residual(task: str, prediction: Array, label: Array) -> Array:
    """Gradient of the loss by the prediction, shape (n, m): m classes, else m = 1."""
    if task == "binary":
        return (sigmoid(prediction) - label)[:, None]
    if task == "multiclass":
        gap = softmax(prediction)
        gap[np.arange(label.size), label.astype(np.int64)] -= 1.0
        return gap
    return (prediction - label)[:, None]
