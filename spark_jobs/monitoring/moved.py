"""How far a day is from the days before it: predictions, segments, sketch. Pure NumPy.

Predictions and segments are held against those of all models in the `REFERENCE` before the day, by
the population stability index that `due` measures losses by (`spark_jobs.selection.drift`). A
sketch is of one model's own last layer, so it is held against the same version's alone.
"""

from datetime import timedelta

import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.drift import FEWEST, index_of, near_deciles

REFERENCE = timedelta(days=28)  # whole weeks, so that no weekday is rarer than another


def predictions(before: Array, now: Array) -> float | None:
    """The index of counts `now` (m,) by ascending bin, in about ten groups of bins that hold about
    as much of `before` (m,) each; None where either is too few."""
    if before.sum() < FEWEST:
        return None
    at = near_deciles(before)
    group = np.searchsorted(at, np.arange(before.size))
    expected, counts = (np.bincount(group, each, at.size + 1) for each in (before, now))
    return index_of(expected / expected.sum(), counts)


def segments(before: Array, now: Array) -> float | None:
    """The index of counts of the levels `now` (m,) against `before` (m,); None where either is too
    few. A level that is new counts as half a row before."""
    if before.sum() < FEWEST:
        return None
    expected = before + 0.5
    return index_of(expected / expected.sum(), now)


def sketch(before: Array, now: Array) -> list[float] | None:
    """(m1 - m0) / sqrt((s1² + s0²) / 2) of each number, the standardised mean difference (Cohen,
    1988); 0 where neither varies.

    before, now: count, sum and sum of squares of each number, (3, d). None where either is too few.
    """
    counted = [*before[0], *now[0]]
    if not counted or min(counted) < FEWEST:
        return None
    (m0, v0), (m1, v1) = (_moments(*each) for each in (before, now))
    spread = np.sqrt((v0 + v1) / 2)
    gap = m1 - m0
    return np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0).tolist()


def _moments(count: Array, total: Array, squares: Array) -> tuple[Array, Array]:
    mean = total / count
    return mean, np.maximum(squares / count - mean**2, 0.0)
