"""Whether losses have moved: the population stability index against an earlier distribution."""

from collections.abc import Mapping, Sequence

import numpy as np

from spark_jobs.selection import histogram
from spark_jobs.selection.arrays import Array

LEVELS = np.arange(1, 10) / 10
# Below this the index is mostly noise: without any drift its mean is (bins - 1) / rows.
FEWEST = 500


def distribution(counts: Array) -> dict[str, list[float]]:
    """About ten bins of a histogram (`histogram.BINS`,): their m inner edges and m + 1 shares.

    Edges are those of histogram bins near the deciles, so that the shares are exact, however many
    equal values there are. Empty where nothing was counted.
    """
    upto, total = np.cumsum(counts), int(counts.sum())
    if not total:
        return {}
    at = near_deciles(counts)
    shares = np.diff([0, *upto[at], total]) / total
    return {"edges": histogram.edges()[at + 1].tolist(), "shares": shares.tolist()}


def near_deciles(counts: Array) -> Array:
    """The last bins (m,), of ascending bins with these counts (n,), of all groups of bins but one:
    about ten groups that hold about as much each."""
    upto = np.cumsum(counts)
    at = np.unique(np.searchsorted(upto, LEVELS * upto[-1]))
    return at[upto[np.minimum(at, upto.size - 1)] < upto[-1]]  # nothing lies above such an edge


def stability_index(before: Mapping[str, Sequence[float]], values: Array) -> float | None:
    """Population stability index of `values` (n,) against a `distribution`; None for fewer than
    `FEWEST` values."""
    expected = np.array(before["shares"])
    place = np.searchsorted(np.array(before["edges"]), values, side="right")
    return index_of(expected, np.bincount(place, minlength=expected.size))


def index_of(expected: Array, counts: Array) -> float | None:
    """Population stability index of counts (m,) against expected shares (m,); None where fewer than
    `FEWEST` were counted.

    Sum over bins of (a - e) ln(a / e), with e the bin's expected share and a that of `counts`
    (Siddiqi, Credit Risk Scorecards, 2006, where 0.1 is a small shift and 0.25 a large one). Half
    a row is added to each bin, so that an empty one counts as rare and not as infinitely far.
    """
    if counts.sum() < FEWEST:
        return None
    actual = (counts + 0.5) / (counts + 0.5).sum()
    return float(((actual - expected) * np.log(actual / expected)).sum())
