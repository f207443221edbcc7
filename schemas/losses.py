"""The losses of a regression by name, on errors in NumPy: what a gate and an estimate compare."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A loss of the size of an error and Huber's delta; the twins of `trainer/fitting/loss.py`.
REGRESSION: dict[str, Callable[[Floats, float], Floats]] = {
    "squared": lambda error, _: error**2,
    "absolute": lambda error, _: error,
    "huber": lambda error, delta: np.where(
        error <= delta, 0.5 * error**2, delta * (error - 0.5 * delta)
    ),
}
