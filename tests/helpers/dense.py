"""Calibration the obvious way: the matrix a written out, and its dual minimised by SciPy."""

from typing import Any

import numpy as np
from scipy.optimize import minimize

from spark_jobs.selection import tasks
from spark_jobs.selection.records import Records


def columns_of(records: Records, task: str, offset: Any = 0.0) -> dict[str, np.ndarray]:
    """Every column of a by its name: 1, then residuals times 1, prediction, segments, sketch."""
    prediction = records.prediction + offset if task == "binary" else records.prediction
    residual = tasks.residual(task, prediction, records.label) * records.matured[:, None]
    factors = {"": np.ones(records.size)}
    if residual.shape[1] == 1:
        logit = records.prediction
        factors[" x prediction"] = (logit - logit.mean()) / logit.std()
    for place, names in enumerate(records.vocabulary.levels):
        for code, name in enumerate(names):
            factors[f" x segment{place}={name}"] = records.segments[:, place] == code
    for j in range(records.sketch.shape[1]):
        factors[f" x sketch{j}"] = records.sketch[:, j].astype(float)
    a = {"one": np.ones(records.size)}
    for factor, value in factors.items():
        for c in range(residual.shape[1]):
            number = c if residual.shape[1] > 1 else ""
            a[f"residual{number}{factor}"] = value * residual[:, c]
    return a


def truncated(a: np.ndarray, q: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """F(a'q)."""
    return np.clip(1 + a @ q, *bounds)


def by_scipy(a, weight, target, rho: float, bounds: tuple[float, float], k: int) -> np.ndarray:
    """q at the least of (1/k) sum w G(a'q) - T'q + rho q'q / 2, where G' = F; convex."""
    low, high = bounds

    def dual(q):
        u = a @ q
        inner = np.clip(u, low - 1, high - 1)
        g = inner + inner**2 / 2 + np.where(u < low - 1, low, high) * (u - inner)
        value = weight @ g / k - target @ q + rho * q @ q / 2
        return value, a.T @ (weight * truncated(a, q, bounds)) / k - target + rho * q

    options = {"maxiter": 100_000, "maxfun": 100_000, "ftol": 0, "gtol": 1e-12, "maxcor": 50}
    start = np.zeros(a.shape[1])
    return minimize(dual, start, jac=True, method="L-BFGS-B", options=options).x
