"""Inclusion probabilities: pi = (1 - floor) min(1, c s) + floor k / N, with the sum of pi = k."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.records import Records
from spark_jobs.selection.scores import SCORES

# A score of zero would be a probability of zero, which no weight repairs.
SMALLEST_SHARE = 1e-6


@dataclass(frozen=True)
class Scale:
    """What turns scores into probabilities, the same for every block."""

    count: int  # N
    budget: int  # k
    floor: float
    factor: float  # c
    smallest: float  # scores are at least this

    @property
    def mean(self) -> float:
        """k / N."""
        return self.budget / self.count


class Probabilities(NamedTuple):
    """Per candidate, each (n,): pi as it is, and as it had been with the label 0 or 1."""

    score: Array
    actual: Array
    negative: Array
    positive: Array


def scaled(score: Array, scale: Scale) -> Array:
    """pi of each score, in (0, 1]."""
    proportional = np.minimum(1.0, scale.factor * np.maximum(score, scale.smallest))
    return np.minimum(1.0, (1.0 - scale.floor) * proportional + scale.floor * scale.mean)


def probabilities(
    records: Records, task: str, score: str, scale: Scale, both_labels: bool
) -> Probabilities:
    """Inclusion probabilities of a block; `both_labels` also solves for y = 0 and y = 1."""
    function = SCORES[score]
    actual_score = function(task, records.prediction, records.label)
    actual = scaled(actual_score, scale)
    if not both_labels:
        return Probabilities(actual_score, actual, actual, actual)
    zeros, ones = np.zeros(records.size), np.ones(records.size)
    negative = scaled(function(task, records.prediction, zeros), scale)
    positive = scaled(function(task, records.prediction, ones), scale)
    return Probabilities(actual_score, actual, negative, positive)


class CapTotals(NamedTuple):
    """Of one block at a given factor: rows at the cap, and the scores of those below it."""

    capped: int
    below: float


def cap_totals(score: Array, scale: Scale) -> CapTotals:
    """How many c s reach 1, and the sum of the scores that do not."""
    size = np.maximum(score, scale.smallest)
    at_cap = scale.factor * size >= 1.0
    return CapTotals(int(at_cap.sum()), float(size[~at_cap].sum()))


def next_factor(scale: Scale, totals: list[CapTotals]) -> float:
    """c from the totals at the present c; the same c again means that it is the solution.

    Repeated truncation: c only grows, so the set at the cap only grows and the loop ends.
    """
    capped = sum(t.capped for t in totals)
    below = sum(t.below for t in totals)
    if capped >= scale.budget or below <= 0.0:
        return scale.factor
    return max(scale.factor, (scale.budget - capped) / below)
