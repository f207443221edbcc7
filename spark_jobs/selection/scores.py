"""Scores: the size measure of a record, s >= 0. One function each, chosen by name."""

from collections.abc import Callable

import numpy as np

from spark_jobs.selection import records as rec
from spark_jobs.selection.arrays import Array

Score = Callable[[str, Array, Array], Array]


def one(task: str, prediction: Array, label: Array) -> Array:
    """1 for every record: a uniform sample."""
    return np.ones(label.size)


def residual_norm(task: str, prediction: Array, label: Array) -> Array:
    """|p - y|, ||softmax - onehot||, |yhat - y|: the bound on the norm of a row's gradient.

    Katharopoulos and Fleuret, "Not All Samples Are Created Equal", ICML 2018, section 3.2.
    """
    return np.linalg.norm(rec.residual(task, prediction, label), axis=1)


SCORES: dict[str, Score] = {
    "one": one,
    "residual-norm": residual_norm,
}
