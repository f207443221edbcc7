"""Calibration: the drawn rows' weights moved to reproduce totals known from every record.

Deville and Sarndal, "Calibration estimators in survey sampling", JASA 1992: the truncated linear
method (their case 7) with a ridge, whose coefficients `solver` finds. The auxiliary vector of a
record is a = (1, r, r f, r x segments, r x sketch), with r the residual and f the standardised
prediction: for a model whose last layer is linear, r x hidden units is the gradient, so the sample
reproduces a sketch of it. Most of a is zero, so it is kept as its non-zero factors.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from schemas.errors import ConfigurationError
from spark_jobs.selection import tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.records import Records, widened

MAX_COLUMNS = 500
# Drawn rows for each column, below which residuals of several classes are not multiplied with the
# sketch: weights that follow more totals than there are rows follow chance (docs/study.md).
MIN_ROWS = 4


class Auxiliary(NamedTuple):
    """What the columns of a are, the same for every block."""

    task: str
    center: float
    spread: float
    levels: tuple[tuple[str, ...], ...]  # of the segment keys that have columns
    sketch_width: int
    outputs: int  # residuals a record: classes, else 1
    left_out: tuple[str, ...] = ()  # what did not fit

    @property
    def factors(self) -> int:
        """What each residual is multiplied with: 1, f, levels, sketch."""
        levels = sum(len(names) for names in self.levels)
        return 1 + (self.outputs == 1) + levels + self.sketch_width

    @property
    def columns(self) -> int:
        """p, the width of a."""
        return 1 + self.factors * self.outputs

    @property
    def names(self) -> list[str]:
        """A name a column, in order."""
        factors = ["", *([" x prediction"] if self.outputs == 1 else [])]
        for place, names in enumerate(self.levels):
            factors += [f" x segment{place}={name}" for name in names]
        factors += [f" x sketch{j}" for j in range(self.sketch_width)]
        residuals = ["residual"]
        if self.outputs > 1:
            residuals = [f"residual{c}" for c in range(self.outputs)]
        return ["one", *(residual + factor for factor in factors for residual in residuals)]


def auxiliary(
    task: str,
    moments: dict[str, float],
    levels: tuple[tuple[str, ...], ...],
    layout: tuple[int, int],
    rows: float = math.inf,
) -> Auxiliary:
    """The columns for these candidates.

    moments: count, prediction, prediction_square, summed over the candidates; layout: (outputs,
    sketch width); rows: to be drawn. Segment keys that do not fit into MAX_COLUMNS are left out,
    the last first, and the sketch of several classes where there are fewer than MIN_ROWS rows a
    column. Raises ConfigurationError where even the sketch does not fit.
    """
    outputs, sketch_width = layout
    center = moments["prediction"] / moments["count"]
    variance = moments["prediction_square"] / moments["count"] - center**2
    spread = max(variance, 1e-12) ** 0.5
    for kept in range(len(levels), -1, -1):
        left_out = tuple(f"segment{place}" for place in range(kept, len(levels)))
        columns = Auxiliary(task, center, spread, levels[:kept], sketch_width, outputs, left_out)
        if columns.columns <= MAX_COLUMNS:
            if outputs > 1 and sketch_width and columns.columns * MIN_ROWS > rows:
                return columns._replace(sketch_width=0, left_out=(*left_out, "sketch"))
            return columns
    raise ConfigurationError(
        f"sketch: {outputs} outputs x (1 + {sketch_width} numbers) are {columns.columns} columns to"
        f" calibrate on, at most {MAX_COLUMNS}. Remedy: record a narrower sketch."
    )


class Factors(NamedTuple):
    """a of n rows, as narrow as records are: column 0 is 1, column 1 + place * m + c a factor times
    residual c. A row's factors are 1 at place 0, and these."""

    residual: Array  # (n, m)
    linear: Array  # (n, 1) f at place 1, or (n, 0)
    level: Array  # (n, S) int32, the place of each segment's level, where the factor is 1
    sketch: Array  # (n, d) float32, at the last d places

    def where(self, mask: Array) -> "Factors":
        """The rows of a mask."""
        return Factors(*(values[mask] for values in self))


def factors(records: Records, offset: Array, columns: Auxiliary) -> Factors:
    """a of every record; `offset` (n,) is added to a binary prediction first.

    The residual of a record whose label has not matured counts as zero, which is what its own
    prediction expects.
    """
    n, task = records.size, columns.task
    prediction = records.prediction + offset if task == "binary" else records.prediction
    residual = tasks.residual(task, prediction, records.label) * records.matured[:, None]
    one = columns.outputs == 1
    linear = (records.prediction - columns.center) / columns.spread if one else np.empty(0)
    before = np.cumsum([1 + one, *(len(names) for names in columns.levels)])[:-1]
    return Factors(
        residual,
        linear.reshape(n, int(one)),
        records.segments[:, : before.size] + before.astype(np.int32),
        widened(records.sketch, columns.sketch_width)[:, : columns.sketch_width],
    )


@numba.njit(cache=True)
def _targets(
    residual: Array, linear: Array, level: Array, sketch: Array, share: Array, total: Array
) -> None:
    outputs = residual.shape[1]
    last = (total.size - 1) // outputs - sketch.shape[1]
    for row in range(residual.shape[0]):
        total[0] += share[row]
        for c in range(outputs):
            one = share[row] * residual[row, c]
            total[1 + c] += one
            for z in range(level.shape[1]):
                total[1 + level[row, z] * outputs + c] += one
        for z in range(linear.shape[1]):
            scaled = share[row] * linear[row, z]
            for c in range(outputs):
                total[1 + (1 + z) * outputs + c] += scaled * residual[row, c]
        for z in range(sketch.shape[1]):
            scaled = share[row] * sketch[row, z]
            for c in range(outputs):
                total[1 + (last + z) * outputs + c] += scaled * residual[row, c]


def targets(rows: Factors, share: Array, columns: Auxiliary) -> dict[str, Array]:
    """What the drawn rows are to reproduce: the sum of share * a (p,), and of share * r^2.

    share (n,): what each row counts for in the target, drawn or not.
    """
    total = np.zeros(columns.columns)
    _targets(*rows, share, total)
    square = share @ (rows.residual**2).sum(axis=1)
    return {"target": total, "square": np.asarray(square)}


class DrawnRows(NamedTuple):
    """The drawn rows of one block, as calibration needs them, and the block's `targets`."""

    rows: Factors
    weight: Array  # (n,) before calibration
    goal: dict[str, Array]


@numba.njit(cache=True)
def _fill(
    row: int,
    residual: Array,
    linear: Array,
    level: Array,
    sketch: Array,
    p: int,
    entry: Array,
    at: Array,
) -> None:
    """Write what one row has beside zeros in a to `entry`, and in which columns of p to `at`."""
    outputs = residual.shape[1]
    last = (p - 1) // outputs - sketch.shape[1]
    ones, levels = 1 + linear.shape[1], level.shape[1]
    entry[0], at[0] = 1.0, 0
    for z in range(ones + levels + sketch.shape[1]):
        if z == 0:
            value, place = 1.0, 0
        elif z < ones:
            value, place = linear[row, z - 1], z
        elif z < ones + levels:
            value, place = 1.0, level[row, z - ones]
        else:
            value, place = float(sketch[row, z - ones - levels]), last + z - ones - levels
        for c in range(outputs):
            entry[1 + z * outputs + c] = value * residual[row, c]
            at[1 + z * outputs + c] = 1 + place * outputs + c


@numba.njit(cache=True)
def _width(residual: Array, linear: Array, level: Array, sketch: Array) -> int:
    """How many numbers of a row's a may differ from zero."""
    return 1 + (1 + linear.shape[1] + level.shape[1] + sketch.shape[1]) * residual.shape[1]


@numba.njit(cache=True)
def _sums(
    residual: Array,
    linear: Array,
    level: Array,
    sketch: Array,
    weight: Array,
    q: Array,
    low: float,
    high: float,
) -> tuple[Array, Array, Array]:
    """Sums of w F(a'q) a (p,), of w a^2 (p,), and of w a a' over rows within bounds (p, p)."""
    total, scale, gram = np.zeros(q.size), np.zeros(q.size), np.zeros((q.size, q.size))
    width = _width(residual, linear, level, sketch)
    entry, at = np.empty(width), np.empty(width, np.int64)
    for row in range(weight.size):
        _fill(row, residual, linear, level, sketch, q.size, entry, at)
        move = 1.0
        for i in range(width):
            move += entry[i] * q[at[i]]
        kept = min(max(move, low), high) * weight[row]
        inside = low < move < high
        for i in range(width):
            total[at[i]] += kept * entry[i]
            scale[at[i]] += weight[row] * entry[i] * entry[i]
            if inside:
                share = weight[row] * entry[i]
                for j in range(i + 1):
                    gram[at[i], at[j]] += share * entry[j]
    return total, scale, gram


def sums(drawn: DrawnRows, q: Array, bounds: tuple[float, float]) -> dict[str, Array]:
    """What the drawn rows make of the totals at coefficients q, and the derivative of that."""
    rows = drawn.rows
    total, scale, half = _sums(*rows, drawn.weight, q, *bounds)
    return {"total": total, "scale": scale, "gram": half + np.tril(half, -1).T}


@numba.njit(cache=True)
def _multipliers(
    residual: Array,
    linear: Array,
    level: Array,
    sketch: Array,
    q: Array,
    low: float,
    high: float,
) -> Array:
    out = np.empty(residual.shape[0])
    width = _width(residual, linear, level, sketch)
    entry, at = np.empty(width), np.empty(width, np.int64)
    for row in range(out.size):
        _fill(row, residual, linear, level, sketch, q.size, entry, at)
        response = 0.0
        for i in range(width):
            response += entry[i] * q[at[i]]
        out[row] = min(max(1.0 + response, low), high)
    return out


def multipliers(rows: Factors, q: Array, bounds: tuple[float, float]) -> Array:
    """F(a'q): 1 + a'q within the bounds, shape (n,)."""
    return _multipliers(*rows, q, *bounds)
