"""Counts over logarithmic bins: quantiles and ranks of values that are never sorted.

Every finite value >= 0 has a bin. Bins are at most 3 % wide from 2^-20 to 2^20, where losses mostly
lie, 13 % wide for forty octaves on either side, and an octave wide beyond, up to the losses of the
largest predictions and labels (`schemas.bounds`). Bin 0 begins at 0; the last one is open. Counts
are integers: their sums do not depend on the order of addition.
"""

import numpy as np

from spark_jobs.selection.arrays import Array

# From which power of two on an octave has so many bins; the first begins above bin 0.
_ZONES = ((-60, 8), (-20, 32), (20, 8), (60, 1))
_OPEN = 204  # the last bin begins at this power of two: (2 LARGEST)^2 / 2 is below it
_PARTS = 32  # of an octave, that the key of a value tells apart: a multiple of each of the above
_SHIFT = np.uint64(52 - 5)  # what is left of a float64: its sign, exponent and 5 bits of mantissa
_BIAS = 1023  # of the exponent, as float64 encodes it


def _first_keys() -> Array:
    """The smallest key of each bin but bin 0, int64."""
    ends = [start for start, _ in _ZONES[1:]] + [_OPEN]
    zones = (
        np.arange((start + _BIAS) * _PARTS, (end + _BIAS) * _PARTS, _PARTS // bins)
        for (start, bins), end in zip(_ZONES, ends, strict=True)
    )
    return np.concatenate([*zones, [(_OPEN + _BIAS) * _PARTS]])


_FIRST_KEYS = _first_keys()
BINS = 1 + _FIRST_KEYS.size
_KEYS = 1 << 16  # of values with the sign +; as many with the sign -, such as -0.0, follow
_BIN_OF_KEY = np.concatenate(
    [np.searchsorted(_FIRST_KEYS, np.arange(_KEYS), side="right"), np.zeros(_KEYS, np.int64)]
)


def bin_of(values: Array) -> Array:
    """Bin of each value >= 0, int64, shape of `values`."""
    return _BIN_OF_KEY[np.ascontiguousarray(values, np.float64).view(np.uint64) >> _SHIFT]


def edges() -> Array:
    """Lower edge of each bin, then an upper edge of the open one; shape (BINS + 1,)."""
    keys = np.append(_FIRST_KEYS, _FIRST_KEYS[-1] + _PARTS).astype(np.uint64)
    return np.concatenate([[0.0], (keys << _SHIFT).view(np.float64)])


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
