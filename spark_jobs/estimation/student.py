"""Quantiles of Student's t, which NumPy lacks."""

import math
from statistics import NormalDist

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_MANY = 1e5  # degrees of freedom from which on it is the normal distribution
_STEPS = 100


def student_quantile(probability: float, freedom: float) -> float:
    """The value below which t with `freedom` >= 1 degrees falls with a probability above 1/2.

    By Newton's method from the normal quantile, which lies below: the distribution is concave
    there, so that the steps only go up. F(x) is an integral of cos^(freedom - 1) over atan(x /
    sqrt(freedom)), by Gauss and Legendre.
    """
    x = NormalDist().inv_cdf(probability)
    if freedom > _MANY:
        return x
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    constant /= math.sqrt(math.pi)
    for _ in range(_STEPS):
        angle = math.atan(x / math.sqrt(freedom))
        integral = angle / 2 * (_WEIGHTS @ np.cos(angle * (1 + _NODES) / 2) ** (freedom - 1))
        missing = probability - 0.5 - constant * float(integral)
        density = constant / math.sqrt(freedom) * (1 + x * x / freedom) ** (-(freedom + 1) / 2)
        if missing <= 1e-12:
            return x
        x += missing / density
    return x
