"""The record step: a step of Newton's method for a model's last layer, from records alone.

Where the last layer is linear, residual x (1, sketch) of a record is the gradient of its loss by
the intercept and by what the sketch sees of that layer, and curvature x (1, sketch)(1, sketch)' the
second derivative. Their sums over every row that the serving model has answered, drawn or not, cost
no further forward or backward pass; a training begins with a share of the step that they give
(`training.record_step`), before its first row.

Second derivatives are taken class by class. Of softmax they are at most 2 p (1 - p), since the
matrix diag(p) - p p' is at most twice its diagonal (Gershgorin's circles), with equality for two
classes. Where a model is sure and wrong they vanish and the step would have no end: it is held to
what its own forecast can be right about, which is no more than the whole loss of these rows.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from schemas.record_step import RecordStep
from schemas.statistics import summarised
from spark_jobs.selection import tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.calibration import MIN_ROWS
from spark_jobs.selection.records import Records, widened

RIDGE = 0.01  # of the mean of the diagonal: sketches may lack a direction


class ServedVersion(NamedTuple):
    """The model whose last layer is to be moved, and which records are news to it."""

    version: str
    since: int  # event days from this one on, in days since 1970
    clip: float = math.inf  # of a regression: Huber's delta, beyond which a loss is linear


def sums(records: Records, served: ServedVersion, task: str, width: int) -> dict[str, Array]:
    """Of the matured records of the model: how many, what they count for, their loss,
    the gradient (m, 1 + width) and the second derivatives (m, 1 + width, 1 + width), m outputs.

    width: of the widest sketch. Nothing where the outputs are a projection of more classes.
    """
    if summarised(records.prediction):
        return {}
    version = np.array([name == served.version for name in records.vocabulary.versions], bool)
    known = records.where(
        version[records.version] & records.matured & (records.day >= served.since)
    )
    residual, curvature = derivatives(task, known.prediction, known.label, served.clip)
    loss = tasks.loss(task, known.prediction, known.label)
    share = np.ascontiguousarray(known.row_weight / known.propensity)
    gradient, second = _sums(residual, curvature, share, widened(known.sketch, width))
    return {
        "step_rows": np.asarray(known.size),
        "step_share": np.asarray(share.sum()),
        "step_loss": np.asarray(share @ loss),
        "step_gradient": gradient,
        "step_second": second,
    }


def derivatives(task: str, prediction: Array, label: Array, clip: float) -> tuple[Array, Array]:
    """First and second derivatives (n, m) of each row's loss by its outputs, the second as the head
    of this file says."""
    residual = tasks.residual(task, prediction, label)
    if task == "regression":
        return np.clip(residual, -clip, clip), (np.abs(residual) <= clip).astype(np.float64)
    if task == "binary":
        p = tasks.sigmoid(prediction)[:, None]
        return residual, p * (1.0 - p)
    p = tasks.softmax(prediction)
    return residual, 2.0 * p * (1.0 - p)


@numba.njit(cache=True)
def _sums(residual: Array, curvature: Array, share: Array, sketch: Array) -> tuple[Array, Array]:
    n, m = residual.shape
    p = 1 + sketch.shape[1]
    gradient, second, row = np.zeros((m, p)), np.zeros((m, p, p)), np.ones(p)
    for i in range(n):
        for j in range(1, p):
            row[j] = sketch[i, j - 1]
        for c in range(m):
            first, bend = share[i] * residual[i, c], share[i] * curvature[i, c]
            for j in range(p):
                gradient[c, j] += first * row[j]
                scaled = bend * row[j]
                for k in range(j + 1):
                    second[c, j, k] += scaled * row[k]
    for c in range(m):
        for j in range(p):
            for k in range(j):
                second[c, k, j] = second[c, j, k]
    return gradient, second


def step_of(total: dict[str, Array], served: ServedVersion) -> RecordStep | None:
    """A whole step from the sums of all blocks.

    None where the model has left fewer than `MIN_ROWS` records for each number that would be moved,
    or none of them weighs anything.
    """
    if "step_rows" not in total:
        return None
    gradient, rows, weight = total["step_gradient"], int(total["step_rows"]), total["step_share"]
    if rows < MIN_ROWS * gradient.size or weight == 0.0:
        return None
    solved = [_solved(g, h) for g, h in zip(gradient, total["step_second"], strict=True)]
    move = np.stack([move for move, _ in solved], axis=1)
    gain = float(sum(gain for _, gain in solved))
    held = min(1.0, float(total["step_loss"]) / gain) if gain > 0.0 else 0.0
    return RecordStep(served.version, rows, held * gain / float(weight), (held * move).tolist())


def _solved(gradient: Array, second: Array) -> tuple[Array, float]:
    """The step of one output, and what it takes from the loss where that is quadratic."""
    ridge = RIDGE * np.trace(second) / len(second)
    if ridge == 0.0:  # nothing bends, as where every row is beyond Huber's delta
        return np.zeros(len(second)), 0.0
    move = -np.linalg.solve(second + ridge * np.eye(len(second)), gradient)
    return move, float(-gradient @ move - move @ second @ move / 2.0)
