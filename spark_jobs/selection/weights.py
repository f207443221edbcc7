"""Weightings: what a drawn row counts for in training. Chosen by name."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.probabilities import Probabilities


class Weights(NamedTuple):
    """Per candidate, as if drawn: weight and logit offset, each of shape (n,)."""

    weight: Array
    offset: Array


def none(pi: Probabilities, mean_probability: float) -> Weights:
    """Every drawn row counts 1."""
    return Weights(np.ones(pi.actual.size), np.zeros(pi.actual.size))


def inverse(pi: Probabilities, mean_probability: float) -> Weights:
    """w = k / (N pi), mean 1 in expectation (Horvitz and Thompson 1952)."""
    return Weights(mean_probability / pi.actual, np.zeros(pi.actual.size))


def offset(pi: Probabilities, mean_probability: float) -> Weights:
    """o = log pi(y=1) / pi(y=0): the drawn rows follow logit + o. Weight 1, but for what strata
    have changed, of which an offset knows nothing.

    Fithian and Hastie, "Local case-control sampling", Annals of Statistics 2014, for a general
    acceptance probability.
    """
    return Weights(1.0 / pi.stratified, np.log(pi.positive) - np.log(pi.negative))


WEIGHTINGS: dict[str, Callable[[Probabilities, float], Weights]] = {
    "none": none,
    "inverse": inverse,
    "offset": offset,
}
