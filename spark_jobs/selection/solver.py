"""The coefficients of a calibration, by Newton steps with a line search over sums of drawn rows."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.calibration import Auxiliary
from spark_jobs.selection.one_thread import one_thread
from spark_jobs.selection.policy import Policy

STEPS = 50
TRIES = 8  # lengths of one step
CONVERGED = 1e-9  # of a column's scale
_SINGULAR = 1e-12  # of the largest eigenvalue: below, a direction counts as absent


class Solution(NamedTuple):
    """Coefficients (p,), and how far the calibrated sample is from each total (p,)."""

    coefficients: Array
    gap: Array
    scale: Array  # (p,) root mean square of each column in the sample, to compare gaps with
    steps: int


class Point(NamedTuple):
    """What is known at one q."""

    q: Array
    sums: dict[str, Array]
    miss: Array  # (p,) what the equation is off by
    distance: float  # the norm of that, in the columns' scales


def solve(
    evaluate: Callable[[Array], dict[str, Array]], first: dict[str, Array], k: int, policy: Policy
) -> Solution:
    """Coefficients q with (1/k) sum w F(a'q) a + rho q = T, by Newton steps with a line search.

    evaluate(q): `calibration.sums` over all drawn rows; first: those at q = 0, with the `targets`.
    rho = ridge * E[r^2] / k; with ridge 0 the totals are met exactly where the bounds allow it, and
    collinear columns share the smallest solution. Where they do not, the nearest q that was seen.
    """
    target, ridge = first["target"], policy.ridge * float(first["square"]) / k
    scale = np.sqrt(first["scale"] / k)
    unit = np.where(scale > 0.0, scale, 1.0)

    def at(q: Array) -> Point:
        now = evaluate(q) if q.any() else first
        miss = now["total"] / k + ridge * q - target
        return Point(q, now, miss, float(np.linalg.norm(miss / unit)))

    point = nearest = at(np.zeros_like(target))
    steps = 0
    while steps < STEPS and np.max(np.abs(point.miss) / unit) > CONVERGED:
        tried = _line_search(at, point, _newton(point.sums["gram"] / k, ridge, point.miss))
        if tried is None:
            break
        steps += 1
        point = tried
        nearest = min(nearest, point, key=lambda one: one.distance)
    return Solution(nearest.q, nearest.sums["total"] / k - target, scale, steps)


def _newton(gram: Array, ridge: float, miss: Array) -> Array:
    """The step that closes the gap to first order; least squares where directions are absent.

    The diagonal is scaled to 1, ridge included: else that of a column near zero would dwarf all.
    """
    regular = gram + ridge * np.eye(miss.size)
    diagonal = np.sqrt(np.diag(regular))
    unit = np.where(diagonal > 0.0, diagonal, 1.0)
    scaled = regular / np.outer(unit, unit)
    with one_thread():
        values, vectors = np.linalg.eigh(scaled)
        known = values > _SINGULAR * values[-1]
        inverse = np.where(known, 1.0 / np.where(known, values, 1.0), 0.0)
        return -((vectors * inverse) @ (vectors.T @ (miss / unit))) / unit


def _line_search(at: Callable[[Array], Point], start: Point, direction: Array) -> Point | None:
    """A point along the direction that is near the lowest; None where it does not fall.

    The equation's left side less its right is the gradient of a convex function (Deville and
    Sarndal's dual): slopes along the direction tell on which side of the lowest point one is.
    """
    slope = float(start.miss @ direction)
    if not slope < 0.0:
        return None
    point, length = start, 1.0
    (low, falling), (high, rising) = (0.0, slope), (1.0, 0.0)
    for attempt in range(TRIES):
        point = at(start.q + length * direction)
        here = float(point.miss @ direction)
        near = abs(here) <= -0.5 * slope
        if near or (attempt == 0 and here < 0.0):  # Newton's own step may fall short, none else
            return point
        if here > 0.0:
            high, rising = length, here
        else:
            low, falling = length, here
        share = falling / (falling - rising)  # where the slope would be zero if it were linear
        length = low + min(max(share, 0.1), 0.9) * (high - low)
    return point


def achieved(solution: Solution, columns: Auxiliary) -> dict[str, object]:
    """How far the calibrated sample is from each total, in itself and against the column's size."""
    relative = solution.gap / np.where(solution.scale > 0.0, solution.scale, 1.0)
    worst = int(np.argmax(np.abs(relative)))
    names = columns.names
    return {
        "columns": columns.columns,
        "left_out": list(columns.left_out),
        "steps": solution.steps,
        "largest_relative_gap": float(abs(relative[worst])),
        "largest_gap_column": names[worst],
        "gaps": dict(zip(names, solution.gap.tolist(), strict=True)),
        "relative_gaps": dict(zip(names, relative.tolist(), strict=True)),
    }
