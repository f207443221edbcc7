"""Holm's correction for many tests: all claims of a table hold together.

S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
Statistics 6 (1979), 65-70. It keeps the probability of one false claim or more below the level,
however the tests depend on each other.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def adjusted(p: Floats) -> Floats:
    """The adjusted p-values (m,) of the p-values (m,), in the same order.

    Of p sorted ascending the i-th of m, from 1, is multiplied by m - i + 1; it is at least what the
    one before it came to, and at most 1. A claim holds at a level where its adjusted p is no more.
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    stepped = np.maximum.accumulate(np.minimum(1.0, p[order] * factors))
    found = np.empty(len(p))
    found[order] = stepped
    return found
