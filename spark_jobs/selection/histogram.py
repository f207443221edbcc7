"""Counts over logarithmic bins: quantiles and ranks of values that are never sorted.

1024 bins over [0, 2^12): bin 0 is [0, 2^-20), then 32 bins an octave, so a bin is at most 3 % wide;
the last one is open. Counts are integers: their sums do not depend on the order of addition.
"""

import numpy as np

from spark_jobs.selection.arrays import Array

BINS = 1024
_MANTISSA_BITS = 5
_FIRST = (1023 - 20) << _MANTISSA_BITS  # of the exponent -20, as float64 encodes it


def bin_of(values: Array) -> Array:
    """Bin of each value >= 0, int64, shape of `values`."""
    keys = np.ascontiguousarray(values, np.float64).view(np.int64) >> (52 - _MANTISSA_BITS)
    return np.clip(keys - _FIRST + 1, 0, BINS - 1)


def edges() -> Array:
    """Lower edge of each bin, then the upper edge of the last but one; shape (BINS + 1,)."""
    keys = (np.arange(BINS, dtype=np.int64) + _FIRST) << (52 - _MANTISSA_BITS)
    return np.concatenate([[0.0], keys.view(np.float64)])


def counts(values: Array, group: Array, groups: int) -> Array:
    """How many values of each group fall into each bin, int64, shape (groups, BINS)."""
    flat = group.astype(np.int64) * BINS + bin_of(values)
    return np.bincount(flat, minlength=groups * BINS).reshape(groups, BINS)


def rank(values: Array, group: Array, histogram: Array) -> Array:
    """Share of the group's values at or below each value, linear within a bin; in (0, 1]."""
    at, edge = bin_of(values), edges()
    below = np.cumsum(histogram, axis=1) - histogram
    inside = np.clip((values - edge[at]) / (edge[at + 1] - edge[at]), 0.0, 1.0)
    total = histogram.sum(axis=1)[group]
    # The middle of a bin's own rows where all values are equal: half of them are at or below.
    return np.maximum(below[group, at] + inside * histogram[group, at], 0.5) / total


def quantile(histogram: Array, share: float) -> float:
    """The value that `share` of the counts (BINS,) lie below, linear within a bin."""
    wanted = share * histogram.sum()
    upto = np.cumsum(histogram)
    at = min(int(np.searchsorted(upto, wanted)), BINS - 1)
    edge = edges()
    inside = (wanted - (upto[at] - histogram[at])) / max(histogram[at], 1)
    return float(edge[at] + np.clip(inside, 0.0, 1.0) * (edge[at + 1] - edge[at]))
