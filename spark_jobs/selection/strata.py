"""Strata: how many rows each level of a segment key is to have."""

import numpy as np

from schemas.errors import ConfigurationError
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.policy import Strata


def allocate(
    natural: Array, rows: Array, budget: int, strata: Strata, names: tuple[str, ...]
) -> Array:
    """Whole numbers of drawn rows by stratum, (H,), that sum to the budget.

    natural (H,): sums of pi without a guarantee; rows (H,): candidates. Strata below their minimum
    are raised to it, the others shrink in proportion. Each has at least one row: none would mean
    probabilities of zero. Raises ConfigurationError, with the
    arithmetic, where the minima cannot all be had.
    """
    share = int(np.ceil(strata.min_share * budget - 1e-9))  # 0.14 x 50 is 7, and a little more
    wanted = max(strata.min_count, share)
    minimum = np.maximum(wanted, np.minimum(rows, 1))
    _require_feasible(minimum, rows, budget, names)
    raised = np.zeros(rows.size, bool)
    while True:
        left = budget - minimum[raised].sum()
        part = natural[~raised].sum()
        shares = np.where(raised, minimum, natural * (left / part if part > 0 else 0.0))
        short = ~raised & (shares < minimum)
        if not short.any():
            return _whole(shares, minimum, rows, budget)
        raised |= short


def _require_feasible(minimum: Array, rows: Array, budget: int, names: tuple[str, ...]) -> None:
    for name, wanted, there in zip(names, minimum, rows, strict=True):
        if wanted > there:
            raise ConfigurationError(
                f"selection.strata: {wanted} rows of {name!r} are wanted and {there} are there."
                " Remedy: lower the minimum, or widen selection.window_days."
            )
    if minimum.sum() > budget:
        raise ConfigurationError(
            f"selection.strata: {rows.size} levels x {minimum[0]} rows = {minimum.sum()},"
            f" above the budget of {budget}. Remedy: lower the minimum, or raise the budget."
        )


def _whole(share: Array, minimum: Array, rows: Array, budget: int) -> Array:
    """Largest remainders; never below the minimum, never above what is there."""
    low = np.clip(np.floor(share + 1e-9), minimum, rows).astype(np.int64)
    order = np.argsort(-(share - low), kind="stable")
    while low.sum() != budget:
        step = 1 if low.sum() < budget else -1
        for h in order if step > 0 else order[::-1]:
            if low.sum() != budget and minimum[h] <= low[h] + step <= rows[h]:
                low[h] += step
    return low
