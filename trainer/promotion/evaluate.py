"""Metrics of predictions on a set of rows: pure NumPy.

Every metric is a function of sums over the rows (`Parts`), each counting its own weight: a whole
number says what as many rows would say instead. So the same lines give its value, from the sums of
all rows, and its spread, from the sums of resampled rows (`intervals.py`).

`loss` is what the gate compares: log loss (binary, multiclass), or the loss of a regression by the
name it is trained with. A metric that the rows do not define (AUC of one class alone) is left out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.losses import REGRESSION
from schemas.pipeline import Task
from schemas.sections.training import Training

Floats = NDArray[np.float64]
Metrics = dict[str, float]
BINS = 10


class Parts(NamedTuple):
    """What each row adds to the sums, and the metrics of such sums."""

    columns: Floats  # (n, k), times the row's weight; the first is 1, the second the row's loss
    metrics: Callable[
        [Floats], dict[str, Floats]
    ]  # sums (b, k) -> each metric (b,), NaN: undefined


def evaluate(
    task: Task,
    output: NDArray[Any],
    label: NDArray[Any],
    settings: Training | None = None,
    weight: NDArray[Any] | None = None,
) -> Metrics:
    """Metrics of outputs (n,) or (n, classes) on labels (n,) of rows that weigh so much (n,), 1
    where nothing is given; only `rows` when n is 0."""
    if len(label) == 0:
        return {"rows": 0.0}
    parts = parts_of(task, output, label, settings, weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = parts.metrics(parts.columns.sum(axis=0)[None])
    # A loss may well not be a number: that is for the gate to see.
    defined = {k: float(v[0]) for k, v in values.items() if k == "loss" or not np.isnan(v[0])}
    return {"rows": float(len(label))} | defined


def parts_of(
    task: Task,
    output: NDArray[Any],
    label: NDArray[Any],
    settings: Training | None = None,
    weight: NDArray[Any] | None = None,
) -> Parts:
    """The parts of outputs (n,) or (n, classes) on labels (n,), n at least 1; weight (n,): of each
    row, 1 where nothing is given."""
    chosen = settings or Training()
    own = np.ones(len(label)) if weight is None else np.asarray(weight, np.float64)
    outputs, labels = np.asarray(output, np.float64), np.asarray(label, np.float64)
    parts = PARTS[task](outputs, labels, own, chosen)
    return parts._replace(columns=own[:, None] * parts.columns)


def _binary(logit: Floats, label: Floats, weight: Floats, _: Training) -> Parts:
    """Loss, AUC, and whether probabilities are met: their ratio to, and distance from, labels."""
    probability = 0.5 * (1 + np.tanh(0.5 * logit))
    loss = np.logaddexp(0, logit) - label * logit
    area, moves = _area(logit, label, weight)
    gaps = _in_groups(probability, probability - label, weight)
    ones = np.ones(len(label))
    columns = np.column_stack([ones, loss, probability, label, moves, gaps])

    def metrics(sums: Floats) -> dict[str, Floats]:
        rows, total, predicted, positive, up, down = sums[:, :6].T
        return {
            "loss": total / rows,
            "auc": area + up / positive + down / (rows - positive),
            "calibration_error": np.abs(sums[:, 6:]).sum(axis=1) / rows,
            "calibration_ratio": np.where(positive > 0, predicted / positive, np.nan),
        }

    return Parts(columns, metrics)


def _multiclass(logits: Floats, label: Floats, weight: Floats, _: Training) -> Parts:
    """Loss, accuracy, and how far the confidence in the likeliest class is from its accuracy."""
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    chosen = logits[np.arange(len(label)), label.astype(np.int64)]
    hit = (logits.argmax(axis=1) == label).astype(np.float64)
    confidence = np.exp(top - total)
    gaps = _in_groups(confidence, confidence - hit, weight)
    columns = np.column_stack([np.ones(len(label)), total - chosen, confidence, hit, gaps])

    def metrics(sums: Floats) -> dict[str, Floats]:
        rows, loss, confident, hits = sums[:, :4].T
        return {
            "loss": loss / rows,
            "accuracy": hits / rows,
            "calibration_error": np.abs(sums[:, 4:]).sum(axis=1) / rows,
            "calibration_ratio": np.where(hits > 0, confident / hits, np.nan),
        }

    return Parts(columns, metrics)


def _regression(value: Floats, label: Floats, weight: Floats, settings: Training) -> Parts:
    """The loss by its name, squared and absolute error, and the mean error with its sign."""
    error = value - label
    loss = REGRESSION[settings.loss](np.abs(error), settings.huber_delta)
    columns = np.column_stack([np.ones(len(label)), loss, error**2, np.abs(error), error])

    def metrics(sums: Floats) -> dict[str, Floats]:
        rows = sums[:, 0]
        names = {"loss": 1, "mse": 2, "mae": 3, "bias": 4}
        return {name: sums[:, place] / rows for name, place in names.items()}

    return Parts(columns, metrics)


PARTS: dict[Task, Callable[[Floats, Floats, Floats, Training], Parts]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}


def _area(score: Floats, label: Floats, weight: Floats) -> tuple[float, Floats]:
    """AUC, the chance that a positive scores above a negative, ties counting half; and how far
    each row's own chance is from it, (n, 2): of a positive, and of a negative.

    These are the placement values of DeLong, DeLong and Clarke-Pearson (1988): to first order a
    resampled AUC is moved by their means. NaN where one class alone weighs anything.
    """
    _, place = np.unique(score, return_inverse=True)
    positives = np.bincount(place, weights=weight * label)
    negatives = np.bincount(place, weights=weight * (1 - label))
    with np.errstate(divide="ignore", invalid="ignore"):
        below = (np.cumsum(negatives) - negatives / 2)[place] / negatives.sum()
        above = (positives.sum() - np.cumsum(positives) + positives / 2)[place] / positives.sum()
    positive = label > 0
    if not weight[positive].any() or not weight[~positive].any():
        return float("nan"), np.zeros((len(label), 2))
    area = float(np.average(below[positive], weights=weight[positive]))
    own = (np.where(positive, below - area, 0.0), np.where(positive, 0.0, above - area))
    return area, np.column_stack(own)


def _in_groups(predicted: Floats, gap: Floats, weight: Floats) -> Floats:
    """The gap of each row in the column of its group (n, at most 10): ten groups of equal size by
    what was predicted. The sizes of their sums, over the rows, are the calibration error."""
    order = np.argsort(predicted, kind="stable")
    groups = np.array_split(order, BINS)
    if (weight != weight[0]).any():  # as much weight in each
        upto = np.cumsum(weight[order]) - weight[order] / 2
        edges = np.searchsorted(upto, weight.sum() * np.arange(1, BINS) / BINS)
        groups = np.split(order, edges)
    columns = np.zeros((len(predicted), BINS))
    for number, group in enumerate(groups):
        columns[group, number] = gap[group]
    return columns
