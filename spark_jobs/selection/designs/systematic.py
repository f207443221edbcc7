"""Systematic sampling: one cumulative sum, one random start, in an order of choice.

Madow, "On the theory of systematic sampling, II", 1949. Probabilities are counted in whole units of
2^-40, so that sums over blocks are exact in any grouping and the size of the sample is exact. Each
stratum has a cumulative sum of its own.
"""

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs.design import Block, Passes, States
from spark_jobs.selection.hashing import hash_step

UNIT_BITS = 40
ONE = 1 << UNIT_BITS


class UnitTotals(NamedTuple):
    """Of one block, by stratum (H,): all units, and how many rows may give or take one."""

    units: Array
    adjustable: Array


class RandomStart(NamedTuple):
    """What a block must know of the blocks before it, by stratum (H,)."""

    offset: Array  # units since the last drawn row, random start included; below ONE
    correction: Array  # units that this block adds (or, negative, takes) so that all sum to k


def units(probability: Array) -> Array:
    """Probabilities as whole units, 1 to 2^40, int64."""
    return np.maximum(1, np.rint(probability * ONE)).astype(np.int64)


@numba.njit(cache=True)
def _sum_units(unit: Array, stratum: Array, strata: int) -> tuple[Array, Array]:
    total, adjustable = np.zeros(strata, np.int64), np.zeros(strata, np.int64)
    for row in range(unit.size):
        total[stratum[row]] += unit[row]
        adjustable[stratum[row]] += 1 < unit[row] < ONE - 1
    return total, adjustable


def unit_totals(block: Block) -> UnitTotals:
    """Totals of a block, for `starts`."""
    return UnitTotals(*_sum_units(units(block.probability), block.stratum, block.budgets.size))


def prepare(passes: Passes, budgets: Array, seed: int) -> States:
    """Where each block begins."""
    totals = passes.each(unit_totals)
    begin = starts([*totals.values()], budgets, seed)
    return States(by_block=dict(zip(totals, begin, strict=True)))


def starts(totals: list[UnitTotals], budgets: Array, seed: int) -> list[RandomStart]:
    """Where each block begins, from the totals of all blocks in order; budgets (H,).

    Rounding leaves the units of a stratum some N/2 short of or above its budget; the difference is
    spread in single units (a change of pi below 1e-12) over blocks in proportion to their
    adjustable rows. Sums are Python's integers: 2^40 units a row outgrow 64 bits.
    """
    offsets, corrections = [], []
    for h, budget in enumerate(budgets.tolist()):
        unit = [int(block.units[h]) for block in totals]
        free = [int(block.adjustable[h]) for block in totals]
        offset, correction = _walked(unit, free, budget, hash_step(seed, h) % ONE)
        offsets.append(offset)
        corrections.append(correction)
    by_block = zip(np.array(offsets).T, np.array(corrections).T, strict=True)
    return [RandomStart(offset, correction) for offset, correction in by_block]


def _walked(
    unit: list[int], free: list[int], budget: int, start: int
) -> tuple[list[int], list[int]]:
    missing, adjustable = budget * ONE - sum(unit), sum(free)
    if abs(missing) > adjustable:
        raise ArithmeticError(f"probabilities sum to {missing / ONE:+.3g} away from k = {budget}")
    before, seen, offsets, corrections = start, 0, [], []
    for here, rows in zip(unit, free, strict=True):
        share = _share(missing, seen + rows, adjustable) - _share(missing, seen, adjustable)
        offsets.append(before % ONE)
        corrections.append(share)
        before += here + share
        seen += rows
    return offsets, corrections


def _share(missing: int, part: int, whole: int) -> int:
    return missing * part // whole if whole else 0


@numba.njit(cache=True)
def _walk(unit: Array, stratum: Array, order: Array, offset: Array, correction: Array) -> Array:
    """A row is drawn where its stratum's running total passes a multiple of ONE."""
    drawn = np.zeros(unit.size, np.bool_)
    total, left = offset.copy(), correction.copy()
    for row in order:
        h = stratum[row]
        add = unit[row]
        if left[h] != 0 and 1 < add < ONE - 1:
            step = 1 if left[h] > 0 else -1
            add += step
            left[h] -= step
        total[h] += add
        if total[h] >= ONE:  # no pi exceeds 1, so never twice
            total[h] -= ONE
            drawn[row] = True
    return drawn


def _drawer(order: Callable[[Block], Array]) -> Callable[[Block, RandomStart], Array]:
    def draw(block: Block, start: RandomStart) -> Array:
        unit = units(block.probability)
        return _walk(unit, block.stratum, order(block), start.offset, start.correction)

    return draw


def by_hash(block: Block) -> Array:
    """A random order: the rows as they are."""
    return np.arange(block.hash.size)


def by_segment_and_size(block: Block) -> Array:
    """Segment keys, then size: implicit stratification by both within each block."""
    return np.lexsort((block.size, *block.segments.T[::-1]))


def by_loss(block: Block) -> Array:
    """Ascending by loss: with equal probabilities, a constant stride over the sorted block."""
    return np.argsort(block.loss, kind="stable")


in_hash_order = _drawer(by_hash)
in_sorted_order = _drawer(by_segment_and_size)
in_loss_order = _drawer(by_loss)
