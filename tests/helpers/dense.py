"""Calibration the obvious way, with the matrix a written out: by SciPy, and by our own solver."""

from typing import Any

import numpy as np
from scipy.optimize import minimize

from spark_jobs.selection import solver, tasks
from spark_jobs.selection.policy import Policy
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


def solved(a, weight, target, policy: Policy, k: int, square: float = 1.0) -> solver.Solution:
    """`solver.solve` on a dense matrix."""

    def evaluate(q):
        factor = truncated(a, q, policy.bounds)
        inside = (factor > policy.bounds[0]) & (factor < policy.bounds[1])
        return {
            "total": (weight * factor) @ a,
            "scale": weight @ a**2,
            "gram": (a.T * (weight * inside)) @ a,
        }

    first = evaluate(np.zeros(a.shape[1])) | {"target": target, "square": np.asarray(square)}
    return solver.solve(evaluate, first, k, policy)


def problem(seed: int, k: int = 200, p: int = 8, shift: float = 0.1):
    """Drawn rows, and totals that are off by about `shift` of a column's spread."""
    random = np.random.default_rng(seed)
    a = np.column_stack([np.ones(k), random.normal(size=(k, p - 1)) * np.arange(1, p)])
    weight = random.uniform(0.5, 2, k)
    weight *= k / weight.sum()
    off = shift * random.normal(size=p) * np.r_[0.1, np.arange(1, p)]
    return a, weight, weight @ a / k + off
