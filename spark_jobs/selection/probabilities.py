"""Inclusion probabilities: pi = (1 - floor) min(1, c s) + floor k / N, with the sum of pi = k.

Scores of different model versions are not comparable: each is divided by the mean of its version's
candidates, so that a version's share of the budget is its share of the candidates. c and k / N are
those of the row's stratum where strata are guaranteed a number of rows, else of all candidates.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from spark_jobs.selection import histogram, tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.records import Records
from spark_jobs.selection.scores import Stats, View, score_of

# A size of zero would be a probability of zero, which no weight repairs; sizes have mean 1.
SMALLEST = 1e-6


@dataclass(frozen=True)
class Sizing:
    """What turns records into sizes, the same for every block."""

    task: str
    policy: Policy
    stats: Stats
    means: Array  # (J, G) mean of each score among the candidates of each model version
    weighted: bool = False  # whether losses and residuals are those of the weighted rows

    @property
    def constant(self) -> bool:
        """Whether every size is 1."""
        return [*self.policy.scores] == ["one"]

    def scores(self, records: Records, label: Array) -> list[Array]:
        """Each score of the policy, as it is, for the labels (n,) given."""
        view = View(
            self.task,
            records.prediction,
            label,
            records.version,
            self.stats,
            self.policy.beta,
            records.row_weight if self.weighted else None,
        )
        return [score_of(name, view, records.matured) for name in self.policy.scores]

    def size(self, records: Records, scores: list[Array]) -> Array:
        """The size of each record, shape (n,): weighted sum of score / mean of its version."""
        total = np.zeros(records.size)
        for score, mean, weight in zip(
            scores, self.means, self.policy.scores.values(), strict=True
        ):
            # All zero in a version: nothing tells its records apart.
            unit = np.where(mean > 0.0, mean, 1.0)[records.version]
            total += weight * np.where(mean[records.version] > 0.0, score / unit, 1.0)
        return np.maximum(total, SMALLEST)


@dataclass(frozen=True)
class Scale:
    """What turns sizes into probabilities, the same for every block; arrays by stratum, (H,)."""

    count: int  # N
    budget: int  # k
    floor: float
    rows: Array  # candidates
    budgets: Array  # of them to be drawn
    factor: Array  # c

    @property
    def mean(self) -> float:
        """k / N."""
        return self.budget / self.count

    def with_factor(self, factor: Array) -> "Scale":
        """The scale with another c."""
        return replace(self, factor=factor)


class Probabilities(NamedTuple):
    """Per candidate, each (n,): pi as it is, and as it had been with the label 0 or 1."""

    score: Array
    size: Array
    actual: Array
    negative: Array
    positive: Array
    stratified: Array  # with an offset: how many times more the row is worth than without strata


def scaled(size: Array, stratum: Array, scale: Scale) -> Array:
    """pi of each size, in (0, 1]."""
    share = scale.floor * scale.budgets / np.maximum(scale.rows, 1)
    proportional = np.minimum(1.0, scale.factor[stratum] * size)
    return np.minimum(1.0, (1.0 - scale.floor) * proportional + share[stratum])


def probabilities(
    records: Records, stratum: Array, sizing: Sizing, scale: Scale, flat: Scale | None
) -> Probabilities:
    """Inclusion probabilities of a block; with an offset also those for y = 0 and y = 1.

    flat: the scale without strata, where there are strata.
    """
    scores = sizing.scores(records, records.label)
    size = sizing.size(records, scores)
    actual = scaled(size, stratum, scale)
    score = scores[0] if len(scores) == 1 else size
    ones = np.ones(records.size)
    if sizing.policy.weighting != "offset":
        return Probabilities(score, size, actual, actual, actual, ones)
    given = [sizing.size(records, sizing.scores(records, y)) for y in (0.0 * ones, ones)]
    negative, positive = (scaled(one, stratum, scale) for one in given)
    stratified = ones
    if flat is not None:
        whole = (scaled(one, np.zeros_like(stratum), flat) for one in given)
        p = tasks.class_probabilities("binary", records.prediction)[:, 1]
        stratified = _worth(p, negative, positive) / _worth(p, *whole)
    return Probabilities(score, size, actual, negative, positive, stratified)


def _worth(p: Array, negative: Array, positive: Array) -> Array:
    """What a row counts for when it is drawn with these pi and fitted with their offset, (n,).

    The expected residual pi(y) (sigmoid(f + o) - y) of a row with the logit f = log p / (1 - p) is
    (p - y) times pi(0) pi(1) / (p pi(1) + (1 - p) pi(0)), whatever its label.
    """
    return negative * positive / (p * positive + (1.0 - p) * negative)


def size_totals(size: Array, stratum: Array, scale: Scale) -> dict[str, Array]:
    """By stratum, (H,): the sum of the sizes, and the largest."""
    largest = np.zeros(scale.rows.size)
    np.maximum.at(largest, stratum, size)
    return {"sum": np.bincount(stratum, size, minlength=scale.rows.size), "largest": largest}


def add_largest(a: dict[str, Array], b: dict[str, Array]) -> dict[str, Array]:
    """Totals of two blocks as those of one."""
    return {
        name: np.maximum(a[name], b[name]) if name == "largest" else a[name] + b[name] for name in a
    }


def cap_totals(size: Array, stratum: Array, scale: Scale) -> dict[str, Array]:
    """By stratum, (H,): how many c s reach 1, and the sum of the sizes that do not."""
    strata = scale.rows.size
    at_cap = scale.factor[stratum] * size >= 1.0
    below = np.bincount(stratum[~at_cap], weights=size[~at_cap], minlength=strata)
    return {"capped": np.bincount(stratum[at_cap], minlength=strata), "below": below}


def binned_totals(size: Array, stratum: Array, scale: Scale) -> dict[str, Array]:
    """By stratum and bin of the size, (H, BINS): how many, and their sum."""
    flat = stratum * histogram.BINS + histogram.bin_of(size)
    shape, cells = (scale.rows.size, histogram.BINS), scale.rows.size * histogram.BINS
    return {
        "count": np.bincount(flat, minlength=cells).reshape(shape),
        "sum": np.bincount(flat, weights=size, minlength=cells).reshape(shape),
    }


def first_factor(scale: Scale, binned: dict[str, Array]) -> Array:
    """A lower bound of c, by truncating whole bins: a bin is at the cap if all of it is."""
    lower = histogram.edges()[:-1]
    factor = scale.factor
    while True:
        at_cap = factor[:, None] * lower[None, :] >= 1.0
        capped = np.where(at_cap, binned["count"], 0).sum(axis=1)
        below = np.where(at_cap, 0.0, binned["sum"]).sum(axis=1)
        better = next_factor(scale.with_factor(factor), {"capped": capped, "below": below})
        if (better <= factor).all():
            return factor
        factor = better


def next_factor(scale: Scale, totals: dict[str, Array]) -> Array:
    """c from the totals at the present c; the same c again means that it is the solution.

    Repeated truncation: c only grows, so the set at the cap only grows and the loop ends.
    """
    left = scale.budgets - totals["capped"]
    below = totals["below"]
    solvable = (left > 0) & (below > 0.0)
    solution = left / np.where(solvable, below, 1.0)
    return np.where(solvable, np.maximum(scale.factor, solution), scale.factor)
