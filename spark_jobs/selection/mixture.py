"""The mixture's rule: scores whose probabilities would have estimated the gradient better gain.

With component j's own probabilities pi_j = k s_j / sum s_j, the variance of the weighted gradient
is, up to what all have in common, V_j = sum g^2 / s_j, with g the residual norm and s_j of mean 1
(Katharopoulos and Fleuret 2018, equation 5). All candidates have records, so V_j is known for every
component after each refresh, drawn by it or not. Weights move as Hedge does (Freund and Schapire,
"A decision-theoretic generalization of on-line learning", 1997): times exp(-rate V_j / V_one).
"""

import numpy as np

from spark_jobs.selection import tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.kernels import Plan
from spark_jobs.selection.probabilities import SMALLEST
from spark_jobs.selection.records import Records

RATE = 1.0
LEAST_WEIGHT = 0.02  # no component falls below: it can come back
_FLOOR = 0.1  # as the mixture's own: a component alone is mixed with uniform too
_LARGEST_RATIO = 4.0  # beyond, one outlier of one refresh would decide


def component_variances(records: Records, plan: Plan) -> Array:
    """Of one block, (J + 1,): V_j of each component, then that of the uniform score."""
    residual = tasks.residual(plan.task, records.prediction, records.label)
    square = ((residual * records.matured[:, None]) ** 2).sum(axis=1)
    if plan.weighted:
        square = square * (records.row_weight / plan.stands_for) ** 2
    variances = []
    for score, mean in zip(
        plan.sizing.scores(records, records.label), plan.sizing.means, strict=True
    ):
        unit = np.where(mean > 0.0, mean, 1.0)[records.version]
        relative = np.maximum(score / unit, SMALLEST)
        variances.append((square / ((1.0 - _FLOOR) * relative + _FLOOR)).sum())
    return np.array([*variances, square.sum()])


def updated(weights: dict[str, float], variances: Array) -> dict[str, float]:
    """The next refresh's weights, which sum to 1, from this one's and from `variances` (J + 1,)."""
    uniform = max(float(variances[-1]), 1e-300)
    ratio = np.minimum(variances[:-1] / uniform, _LARGEST_RATIO)
    grown = np.array([*weights.values()]) * np.exp(-RATE * ratio)
    share = np.maximum(grown / grown.sum(), LEAST_WEIGHT)
    return dict(zip(weights, (share / share.sum()).tolist(), strict=True))
