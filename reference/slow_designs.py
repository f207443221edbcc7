"""The designs the obvious way, step by step: what their compiled kernels are checked against."""

import struct
from collections.abc import Sequence
from itertools import product

import numpy as np
import xxhash

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs.mean_match import STEPS

NEAR = 1e-11


def slow_flight(phi: Array, columns: Array, rows: Array, seed: int) -> tuple[Array, list[int]]:
    """The walk of Chauvet and Tille 2006, one linear system a step, each solved by `lstsq`.

    Arguments as of `flight`. Returns phi (n,) at its end, and the rows that are undecided.
    """
    phi, waiting, step = phi.copy(), list(rows), 0
    window: list[int] = []

    def undecided(row: int) -> bool:
        return bool(NEAR < phi[row] < 1 - NEAR)

    while True:
        while len(window) <= columns.shape[1] and waiting:
            if undecided(waiting[0]):
                window.append(waiting[0])
            waiting.pop(0)
        free = first_dependent(columns[window].T)
        if free is None:
            return phi, window
        direction = np.zeros(len(window))
        direction[free] = 1.0
        before = columns[window[:free]].T
        direction[:free] = -np.linalg.lstsq(before, columns[window[free]], rcond=None)[0]
        number = xxhash.xxh64_intdigest(struct.pack("<q", step), seed=seed) >> 11
        phi[window] += jump(phi[window], direction, number / 2**53) * direction
        step += 1
        for row in window:
            if not undecided(row):
                phi[row] = round(phi[row])
        window = [row for row in window if undecided(row)]


def first_dependent(matrix: Array) -> int | None:
    """The first column that is a combination of those before it."""
    for j in range(matrix.shape[1]):
        if np.linalg.matrix_rank(matrix[:, : j + 1], tol=1e-9) <= j:
            return j
    return None


def jump(phi: Array, direction: Array, chance: float) -> float:
    """As far as a wall allows: ahead with the odds that keep the expectation."""
    moving = direction != 0
    ends = np.sort(np.stack([-phi, 1 - phi])[:, moving] / direction[moving], axis=0)
    behind, ahead = -ends[0].max(), ends[1].min()
    return ahead if chance < behind / (ahead + behind) else -behind


def slow_swaps(loss: Array, stratum: Array, drawn: Array, seed: int) -> Array:
    """A random drawn row goes, for the one of its stratum that best closes its part of the gap;
    then, while the gap is above 1e-5, the best of all pairs, up to 32 times. The new mask (n,)."""
    chosen, others = list(np.flatnonzero(drawn)), list(np.flatnonzero(~drawn))
    wanted = loss.mean() * len(chosen)
    spread = min(STEPS // 2, len(chosen))

    def gap() -> float:
        return float(wanted - loss[chosen].sum())

    def swap_best(pairs: Sequence[tuple[int, int]], goal: float) -> None:
        """The swap after which `goal` is missed by least, if by less than without one."""
        left = {
            (i, j): abs(goal + loss[chosen[i]] - loss[others[j]])
            for i, j in pairs
            if stratum[chosen[i]] == stratum[others[j]]
        }
        best = min(left, key=left.__getitem__, default=None)
        if best is not None and left[best] < abs(goal):
            i, j = best
            chosen[i], others[j] = others[j], chosen[i]

    for step in range(STEPS):
        if abs(gap()) <= 1e-9 * wanted:
            break
        number = xxhash.xxh64_intdigest(struct.pack("<Q", step), seed=seed) >> 1
        pairs = [(number % len(chosen), j) for j in range(len(others))]
        swap_best(pairs, gap() / max(spread - step, 1))
    for _ in range(32):
        if abs(gap()) > 1e-5 * wanted:
            swap_best(list(product(range(len(chosen)), range(len(others)))), gap())
    return np.isin(np.arange(loss.size), chosen)
