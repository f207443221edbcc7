"""The regression estimator: the drawn rows' mean, moved by what is known of all rows.

Deville and Sarndal, "Calibration estimators in survey sampling", JASA 1992; Cassel, Sarndal and
Wretman, Biometrika 1976. With rows of probability pi, auxiliaries x and c = (1 - pi) / pi^2,

    beta  = (sum c x x')^-1 sum c x y                  over the drawn rows
    mean  = X'beta + (1/N) sum (y - x'beta) / pi       X the mean of x over all N rows
    error = sqrt(sum c e^2) / N                        e the residual y - x'beta

The coefficient with these c is the one of least variance under Poisson sampling (Montanari,
International Statistical Review 1987). With 1 and pi among the auxiliaries the same formulas are
those of a design of fixed size and large entropy, and of one that is balanced (Deville and Tille,
"Variance approximation under balanced sampling", JSPI 2005, equation 9): one estimator for every
design that keeps its probabilities. A row of pi = 1 counts as itself and carries no error.

Equally the mean is (1/N) sum g y / pi, with g = 1 + (1 - pi) / pi x'lambda the calibrated
multiplier; the error uses g e (Sarndal, Swensson and Wretman, Biometrika 1989), and e over
1 - leverage, since each row has drawn the fit towards itself (HC3 of MacKinnon and White, Journal
of Econometrics 1985).
"""

from typing import NamedTuple

import numpy as np

from spark_jobs.estimation.interval import ends, moments_of
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.one_thread import one_thread

_SINGULAR = 1e-10  # of the largest eigenvalue: below, a direction counts as absent
_LEAST = 0.05  # of 1 - leverage


class Estimated(NamedTuple):
    """A mean over all rows; how far it may be off."""

    value: float
    standard_error: float
    low: float
    high: float
    rests_on: float  # drawn rows, as many as would give this error if all were alike; 0: no error
    simple_random_error: float  # of the plain mean of as many rows, drawn with equal chances


class Fit(NamedTuple):
    """What the auxiliaries of the drawn rows (n, p) decide, whatever is estimated."""

    x: Array
    cost: Array  # (n,) c = (1 - pi) / pi^2
    inverse: Array  # (p, p) of sum c x x', where it has one
    weight: Array  # (n,) g / pi; sums to N, and with x to the totals of all rows
    multiplier: Array  # (n,) g
    leverage: Array  # (n,)
    probability: Array  # (n,)
    rows: int


def fitted(x: Array, probability: Array, mean: Array, rows: int) -> Fit:
    """The calibrated weights of the drawn rows.

    x (n, p): their auxiliaries, a column of ones among them. probability (n,): above 0, at most 1.
    mean (p,): of the auxiliaries over all `rows`.
    """
    cost = (1 - probability) / probability**2
    missing = mean * rows - (x / probability[:, None]).sum(axis=0)
    with one_thread():
        inverse = _inverse((x * cost[:, None]).T @ x)
        spread = x @ inverse
        multiplier = 1 + (1 - probability) / probability * (spread @ missing)
        leverage = cost * (spread * x).sum(axis=1)
    weight = multiplier / probability
    return Fit(x, cost, inverse, weight, multiplier, leverage, probability, rows)


def _inverse(gram: Array) -> Array:
    """Of a symmetric matrix; of the directions that it has, where some are absent."""
    diagonal = np.sqrt(np.diag(gram))
    unit = np.where(diagonal > 0.0, diagonal, 1.0)
    values, vectors = np.linalg.eigh(gram / np.outer(unit, unit))
    known = values > _SINGULAR * max(values[-1], 0.0)
    kept = vectors[:, known]
    inverse: Array = (kept / values[known]) @ kept.T / np.outer(unit, unit)
    return inverse


def mean_of(value: Array, fit: Fit, confidence: float) -> Estimated:
    """The mean of a value (n,), known of the drawn rows, over all rows."""
    estimate = float(fit.weight @ value) / fit.rows
    return around(estimate, value, fit, confidence)


def ratio_of(value: Array, over: Array, fit: Fit, confidence: float) -> Estimated:
    """The total of a value (n,) over the total of another (n,), linearised.

    Woodruff, "A simple method for approximating the variance of a complicated estimate", JASA 1971.
    The total below must not be estimated as 0: ZeroDivisionError.
    """
    below = float(fit.weight @ over) / fit.rows
    ratio = float(fit.weight @ value) / fit.rows / below
    return around(ratio, (value - ratio * over) / below, fit, confidence)


def around(estimate: float, value: Array, fit: Fit, confidence: float) -> Estimated:
    """The estimate with the error that it has if it is linear in a value (n,)."""
    with one_thread():
        residual = value - fit.x @ (fit.inverse @ (fit.x.T @ (fit.cost * value)))
    # What is left of a value that the auxiliaries explain is rounding.
    scale = np.abs(value).max(initial=0.0) + np.abs(value - residual).max(initial=0.0)
    residual = np.where(np.abs(residual) <= 1e-12 * scale, 0.0, residual)
    error = residual * fit.multiplier / np.maximum(1 - fit.leverage, _LEAST)
    parts = np.sqrt(fit.cost) * error / fit.rows
    pi = fit.probability
    cube = float(((1 - pi) * (1 - 2 * pi) / pi**3 * error**3).sum()) / fit.rows**3
    moments = moments_of(parts, cube)
    below, above = ends(parts, moments, confidence)
    return Estimated(
        estimate,
        moments.square**0.5,
        estimate - below,
        estimate + above,
        moments.rests_on,
        _simple_random_error(value, fit),
    )


def _simple_random_error(value: Array, fit: Fit) -> float:
    """sqrt((1 - n / N) S^2 / n), the variance S^2 of all rows by the calibrated weights."""
    mean = float(fit.weight @ value) / fit.rows
    variance = max(float(fit.weight @ (value - mean) ** 2) / fit.rows, 0.0)
    drawn = len(value)
    return float(np.sqrt((1 - drawn / fit.rows) * variance / drawn))
