"""The flight phase of the cube method: a random walk that keeps the totals of its columns."""

import numba
import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.hashing import hash_long

DECIDED = 1e-11  # phi within this of 0 or 1 is there
_RANK = 1e-11  # of a column's largest entry: below, a pivot counts as zero


def flight(phi: Array, columns: Array, rows: Array, seed: int) -> Array:
    """Walk phi (n,), in place, towards 0 and 1; the rows (u,) that end undecided, u <= p.

    columns (n, p): the totals of phi * columns stay. rows: which rows, in the order in which they
    join the walk. Each phi is a martingale: it ends at 1 with the probability that it began with.
    """
    return _flight(phi, columns, rows.astype(np.int64), np.uint64(seed & 0xFFFFFFFFFFFFFFFF))


@numba.njit(cache=True)
def _flight(phi: Array, columns: Array, rows: Array, seed: np.uint64) -> Array:
    p = columns.shape[1]
    window = np.empty(p + 1, np.int64)
    matrix, direction = np.empty((p, p + 1)), np.empty(p + 1)
    largest = np.empty(p)
    count, upcoming, step = 0, 0, np.uint64(0)
    while True:
        while count <= p and upcoming < rows.size:
            row = rows[upcoming]
            upcoming += 1
            if DECIDED < phi[row] < 1.0 - DECIDED:
                window[count] = row
                count += 1
        for i in range(p):
            largest[i] = 0.0
            for j in range(count):
                value = columns[window[j], i]
                matrix[i, j] = value
                largest[i] = max(largest[i], abs(value))
        if not _null_vector(matrix, count, direction, largest):
            return window[:count].copy()
        _move(phi, window, count, direction, seed, step)
        step += np.uint64(1)
        kept = 0
        for j in range(count):
            row = window[j]
            if DECIDED < phi[row] < 1.0 - DECIDED:
                window[kept] = row
                kept += 1
            else:
                phi[row] = np.rint(phi[row])
        count = kept


@numba.njit(cache=True)
def _null_vector(matrix: Array, count: int, direction: Array, largest: Array) -> bool:
    """A vector that the first `count` columns of `matrix` send to 0; False where there is none.

    Gaussian elimination, column by column, until a column depends on those before it. `matrix` is
    overwritten.
    """
    p = matrix.shape[0]
    for j in range(count):
        rank = j  # every column so far has a pivot
        best, size = -1, 0.0
        for i in range(rank, p):
            if largest[i] > 0.0 and abs(matrix[i, j]) > _RANK * largest[i]:
                scaled = abs(matrix[i, j]) / largest[i]
                if scaled > size:
                    best, size = i, scaled
        if best < 0:
            _back_substitute(matrix, j, direction)
            for rest in range(j + 1, count):
                direction[rest] = 0.0
            return True
        if best != rank:
            for c in range(j, count):
                matrix[rank, c], matrix[best, c] = matrix[best, c], matrix[rank, c]
            largest[rank], largest[best] = largest[best], largest[rank]
        inverse = 1.0 / matrix[rank, j]
        for i in range(rank + 1, p):
            factor = matrix[i, j] * inverse
            if factor != 0.0:
                for c in range(j + 1, count):
                    matrix[i, c] -= factor * matrix[rank, c]
    return False


@numba.njit(cache=True)
def _back_substitute(matrix: Array, free: int, direction: Array) -> None:
    """Solve for the columns before `free`, one pivot each, with 1 at `free`."""
    direction[free] = 1.0
    for i in range(free - 1, -1, -1):
        total = matrix[i, free]
        for c in range(i + 1, free):
            total += matrix[i, c] * direction[c]
        direction[i] = -total / matrix[i, i]


@numba.njit(cache=True)
def _move(
    phi: Array, window: Array, count: int, direction: Array, seed: np.uint64, step: np.uint64
) -> None:
    """To the wall ahead or behind, with the odds that keep every phi's expectation."""
    ahead, behind = np.inf, np.inf
    for j in range(count):
        slope, here = direction[j], phi[window[j]]
        if slope > 0.0:
            ahead, behind = min(ahead, (1.0 - here) / slope), min(behind, here / slope)
        elif slope < 0.0:
            ahead, behind = min(ahead, -here / slope), min(behind, (here - 1.0) / slope)
    chance = np.float64(hash_long(step, seed) >> np.uint64(11)) * 2.0**-53
    distance = ahead if chance * (ahead + behind) < behind else -behind
    for j in range(count):
        phi[window[j]] += distance * direction[j]
