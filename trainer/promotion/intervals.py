"""Confidence intervals by the bootstrap: rows are drawn again with replacement, many times.

What is compared is compared on the same resampled rows, so that the interval of a difference is
that of pairs. A large set is first put into random groups and the groups are drawn: their sums
spread as those of rows do, and the cost stops growing.

The percentile method of Efron and Tibshirani (1993). Rows count as independent: the weather of a
day, which they share, is not in the interval.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

RESAMPLES = 1000
GROUPS = 5_000
SEED = 20210414  # any constant: an evaluation repeated gives the same interval
_AT_ONCE = 50  # resamples


class Interval(NamedTuple):
    """A value, and the ends of its confidence interval; NaN where they are not defined."""

    value: float
    low: float
    high: float


def groups(rows: int) -> Places:
    """The group of each row (rows,): its own, or one of GROUPS at random, of equal sizes."""
    if rows <= GROUPS:
        return np.arange(rows)
    return _random(0).permutation(rows) % GROUPS


def summed(columns: Floats, group: Places) -> Floats:
    """Sums (groups, k) of columns (n, k)."""
    count = int(group.max()) + 1
    sums = [np.bincount(group, weights=column, minlength=count) for column in columns.T]
    return np.stack(sums, axis=1)


def resampled(sums: Floats, resamples: int = RESAMPLES) -> Floats:
    """Totals (resamples, k) of the sums (groups, k) of groups drawn with replacement."""
    random, count = _random(1), len(sums)
    totals = np.empty((resamples, sums.shape[1]))
    for start in range(0, resamples, _AT_ONCE):
        many = min(_AT_ONCE, resamples - start)
        drawn = random.integers(0, count, (many, count)) + count * np.arange(many)[:, None]
        times = np.bincount(drawn.ravel(), minlength=many * count).reshape(many, count)
        totals[start : start + many] = times.astype(np.float64) @ sums
    return totals


def interval(value: float, spread: Floats, confidence: float) -> Interval:
    """The interval around a value that holds the middle share of its resampled values (b,)."""
    defined = spread[~np.isnan(spread)]
    if not defined.size:
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def _random(use: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([SEED, use], np.uint64)))
