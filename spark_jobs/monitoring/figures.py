"""How a model did, from sums over its records and from counts by bin: pure functions over NumPy.

The gate's intervals are of the bootstrap, which draws rows again; over days of any size that would
be 1,000 passes. Here they are the normal intervals of the same values: of a mean by its standard
error, of predicted to observed by the delta method (a ratio of means, Cochran, "Sampling
Techniques", 1977, section 2.12), of the AUC by DeLong, DeLong and Clarke-Pearson (1988). Where rows
are many both agree (`tests/test_performance_figures.py`). As there, rows count as independent.
"""

from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from spark_jobs.selection.arrays import Array

# What is added up, in each bin of what was predicted: of all records, and of the matured ones.
SUMS = (
    "records",
    "expected",
    "matured",
    "loss",
    "loss_loss",
    "matured_expected",
    "gap_gap",  # of loss - expected
    "predicted",
    "observed",
    "predicted_predicted",
    "predicted_observed",
    "observed_observed",
)

Sums = Mapping[str, Array]  # each (m,), by ascending bin


class WithInterval(NamedTuple):
    """A value and the ends of its interval; None where they are not defined."""

    value: float | None
    low: float | None
    high: float | None


UNKNOWN = WithInterval(None, None, None)


def figures(task: str, sums: Sums, confidence: float) -> dict[str, float | int | None]:
    """The columns of `performance` that sums over bins decide, of one day, version and level."""
    total = {name: float(sums[name].sum()) for name in SUMS}
    n, matured = int(total["records"]), int(total["matured"])
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    classes = task != "regression"
    found: dict[str, float | int | None] = {"records": n, "matured": matured}
    found |= _named("loss", mean(matured, total["loss"], total["loss_loss"], z))
    found["expected_loss"] = total["expected"] / n if classes else None
    found["expected_loss_matured"] = _over(total["matured_expected"], matured) if classes else None
    gap = mean(matured, total["loss"] - total["matured_expected"], total["gap_gap"], z)
    found |= _named("loss_gap", gap if classes else UNKNOWN)
    binary = task == "binary" and matured > 0
    negatives = sums["matured"] - sums["observed"]
    area, error = auc(sums["observed"], negatives, z) if binary else (UNKNOWN, None)
    found |= _named("auc", area) | {"auc_error": error}
    found["predicted"] = _over(total["predicted"], matured)
    found["observed"] = _over(total["observed"], matured)
    found |= _named("calibration_ratio", _ratio(total, matured, z) if classes else UNKNOWN)
    return found | {"confidence": confidence}


def _named(name: str, estimate: WithInterval) -> dict[str, float | int | None]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True))


def _over(total: float, rows: int) -> float | None:
    return total / rows if rows else None


def mean(rows: int, total: float, squares: float, z: float) -> WithInterval:
    """The mean of rows from their sum and the sum of their squares."""
    if not rows:
        return UNKNOWN
    value = total / rows
    if rows == 1:
        return WithInterval(value, None, None)
    variance = max(squares - total * value, 0.0) / (rows - 1)
    return _around(value, float(np.sqrt(variance / rows)), z)


def _ratio(total: Mapping[str, float], rows: int, z: float) -> WithInterval:
    """Predicted to observed; not defined where nothing of what was predicted has come."""
    observed = total["observed"]
    if rows < 2 or observed <= 0:
        return UNKNOWN
    value = total["predicted"] / observed
    # The squares of predicted - value * observed, whose sum is 0.
    squares = total["predicted_predicted"] - 2 * value * total["predicted_observed"]
    squares += value**2 * total["observed_observed"]
    variance = max(squares, 0.0) * rows / (rows - 1)
    return _around(value, float(np.sqrt(variance)) / observed, z)


def auc(positives: Array, negatives: Array, z: float) -> tuple[WithInterval, float | None]:
    """The chance that a positive lies in a higher bin than a negative, one bin counting half, and
    how far that may at most be from the AUC of the values: half of the pairs in one bin.

    positives, negatives: (m,) counts by ascending bin. Not defined where there is one class alone.
    """
    of_one, of_other = positives.sum(), negatives.sum()
    if not of_one or not of_other:
        return UNKNOWN, None
    below = (np.cumsum(negatives) - negatives / 2) / of_other
    above = (of_one - np.cumsum(positives) + positives / 2) / of_one
    area = float((positives * below).sum() / of_one)
    error = float(0.5 * (positives * negatives).sum() / (of_one * of_other))
    if min(of_one, of_other) < 2:
        return WithInterval(area, None, None), error
    spread = (positives * (below - area) ** 2).sum() / (of_one - 1) / of_one
    spread += (negatives * (above - area) ** 2).sum() / (of_other - 1) / of_other
    value, low, high = _around(area, float(np.sqrt(spread)), z)
    assert low is not None
    assert high is not None
    return WithInterval(value, max(low, 0.0), min(high, 1.0)), error


def _around(value: float, error: float, z: float) -> WithInterval:
    return WithInterval(value, value - z * error, value + z * error)
