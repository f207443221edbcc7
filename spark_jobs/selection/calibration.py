"""Calibration: the drawn rows' weights moved to reproduce totals known from every record.

Deville and Sarndal, "Calibration estimators in survey sampling", JASA 1992 (the linear method,
with a ridge and bounds). The auxiliary vector of a record is a = (1, r, r f, r x segments,
r x sketch), with r the residual and f the standardised prediction: for a model whose last layer
is linear, r x hidden units is the gradient, so the sample reproduces a sketch of it.
"""

from typing import NamedTuple

import numba
import numpy as np
from threadpoolctl import threadpool_limits

from spark_jobs.selection import records as rec
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.records import Records

RIDGE = 5.0  # times the mean squared residual over k
BOUNDS = (0.1, 4.0)


class Auxiliary(NamedTuple):
    """What the columns of a are, the same for every block."""

    center: float
    spread: float
    levels: tuple[tuple[str, ...], ...]  # of each segment key, sorted
    sketch_width: int
    outputs: int  # residuals a record: classes, else 1

    @property
    def names(self) -> list[str]:
        """A name a column, in order."""
        residuals = (
            ["residual"] if self.outputs == 1 else [f"residual{c}" for c in range(self.outputs)]
        )
        products = [f"{r} x prediction" for r in residuals if self.outputs == 1]
        for place, levels in enumerate(self.levels):
            products += [f"{r} x segment{place}={level}" for level in levels for r in residuals]
        products += [f"{r} x sketch{j}" for j in range(self.sketch_width) for r in residuals]
        return ["one", *residuals, *products]


class Totals(NamedTuple):
    """Sums over one block: targets over all rows, and what the drawn rows make of them."""

    target: Array  # (p,)
    square: float  # of the residual, over all rows
    drawn: Array  # (p,)
    gram: Array  # (p, p)


def auxiliary_matrix(records: Records, task: str, offset: Array, columns: Auxiliary) -> Array:
    """a of every record, shape (n, p); `offset` (n,) is added to a binary prediction first."""
    prediction = records.prediction + offset if task == "binary" else records.prediction
    residual = rec.residual(task, prediction, records.label)
    factors = [np.ones((records.size, 1))]
    if columns.outputs == 1:
        factors.append((records.prediction[:, None] - columns.center) / columns.spread)
    for place, levels in enumerate(columns.levels):
        code = {level: index for index, level in enumerate(levels)}
        keys = np.array([code[keys[place]] for keys in records.segments], dtype=np.int64)
        factors.append((keys[:, None] == np.arange(len(levels))).astype(np.float64))
    if columns.sketch_width:
        factors.append(records.sketch)
    factor = np.hstack(factors)
    products = (factor[:, :, None] * residual[:, None, :]).reshape(records.size, -1)
    return np.hstack([np.ones((records.size, 1)), products])


def block_totals(
    auxiliary: Array, share: Array, weight: Array, drawn: Array, outputs: int
) -> Totals:
    """Totals of a block.

    auxiliary (n, p); share (n,): what each row counts for in the target, drawn or not; weight
    (n,): what it counts for when drawn; drawn (n,): mask.
    """
    residual = auxiliary[:, 1 : 1 + outputs]
    square = float((share * (residual**2).sum(axis=1)).sum())
    chosen = np.ascontiguousarray(auxiliary[drawn])
    weights = weight[drawn]
    target = (share[:, None] * auxiliary).sum(axis=0)
    return Totals(target, square, (weights[:, None] * chosen).sum(axis=0), _gram(chosen, weights))


@numba.njit(cache=True)
def _gram(rows: Array, weight: Array) -> Array:
    """Sum of w a a', added in row order so that the result does not depend on BLAS threads."""
    n, p = rows.shape
    total = np.zeros((p, p))
    for row in range(n):
        for i in range(p):
            scale = weight[row] * rows[row, i]
            for j in range(p):
                total[i, j] += scale * rows[row, j]
    return total


def _summed(blocks: list[Totals], budget: int) -> tuple[Array, Array, Array]:
    """Target (p,), what the drawn rows make of it (p,), and their gram matrix (p, p)."""
    target = np.sum([block.target for block in blocks], axis=0)
    drawn = np.sum([block.drawn for block in blocks], axis=0) / budget
    return target, drawn, np.sum([block.gram for block in blocks], axis=0) / budget


def solve(blocks: list[Totals], budget: int) -> Array:
    """Coefficients q, shape (p,): weights are multiplied by 1 + a'q."""
    target, drawn, gram = _summed(blocks, budget)
    ridge = RIDGE * sum(block.square for block in blocks) / budget
    if ridge == 0.0:  # every prediction is right: nothing to reproduce
        return np.zeros_like(target)
    with threadpool_limits(limits=1):  # one thread: the same bits in every process
        return np.linalg.solve(gram + ridge * np.eye(target.size), target - drawn)


def multipliers(auxiliary: Array, coefficients: Array) -> Array:
    """1 + a'q within the bounds, shape (n,)."""
    return np.clip(1.0 + (auxiliary * coefficients).sum(axis=1), *BOUNDS)


def achieved(blocks: list[Totals], budget: int, names: list[str]) -> dict[str, object]:
    """How far the calibrated sample is from each total, next to the spread of that total."""
    target, drawn, gram = _summed(blocks, budget)
    gap = drawn - target
    scale = np.sqrt(np.diagonal(gram))
    relative = np.abs(gap) / np.where(scale > 0, scale, 1.0)
    worst = int(np.argmax(relative))
    return {
        "columns": len(names),
        "largest_relative_gap": float(relative[worst]),
        "largest_gap_column": names[worst],
        "gaps": {name: float(value) for name, value in zip(names, gap, strict=True)},
    }
