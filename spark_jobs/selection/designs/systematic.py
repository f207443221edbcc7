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
    """Of one block, by stratum (H,)."""

    units: Array
    rows: Array
    givable: Array  # units that can be taken from the rows, each keeping one
    takeable: Array  # units that can be added to them, none beyond twice its own or to 1


class RandomStart(NamedTuple):
    """What a block must know of the blocks before it, by stratum (H,)."""

    offset: Array  # units since the last drawn row, random start included; below ONE
    correction: Array  # units that this block adds (or, negative, takes) so that all sum to k


def units(probability: Array) -> Array:
    """Probabilities as whole units, int64: 2^40 where pi is 1 or rounds to it, else at least 1.

    49 x (1/49) is below 1, and a unit short of it: where a stratum is wanted whole none of its rows
    could make that good.
    """
    return np.clip(np.rint(probability * ONE), 1, ONE).astype(np.int64)


@numba.njit(cache=True)
def _givable(unit: int) -> int:
    return unit - 1 if unit < ONE else 0


@numba.njit(cache=True)
def _takeable(unit: int) -> int:
    return min(unit, ONE - unit) - 1 if unit < ONE else 0


@numba.njit(cache=True)
def _sum_units(unit: Array, stratum: Array, strata: int) -> tuple[Array, Array, Array, Array]:
    total, rows = np.zeros(strata, np.int64), np.zeros(strata, np.int64)
    givable, takeable = np.zeros(strata, np.int64), np.zeros(strata, np.int64)
    for row in range(unit.size):
        h = stratum[row]
        total[h] += unit[row]
        rows[h] += 1
        givable[h] += _givable(unit[row])
        takeable[h] += _takeable(unit[row])
    return total, rows, givable, takeable


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

    Rounding leaves the units of a stratum up to N short of or above its budget; the difference is
    spread over blocks and rows in proportion to what they can give or take, mostly a single unit (a
    change of pi below 1e-12) for some of them. Sums are Python's integers: 2^40 units a row outgrow
    64 bits. Raises ArithmeticError where the probabilities do not sum to the budgets.
    """
    offsets, corrections = [], []
    for h, budget in enumerate(budgets.tolist()):
        unit = [int(block.units[h]) for block in totals]
        missing = budget * ONE - sum(unit)
        room = [int((block.givable if missing < 0 else block.takeable)[h]) for block in totals]
        rounding = sum(int(block.rows[h]) for block in totals) + 1e-9 * budget * ONE
        if abs(missing) > min(rounding, sum(room)):
            raise ArithmeticError(
                f"probabilities sum to {missing / ONE:+.3g} away from k = {budget}"
            )
        offset, correction = _walked(unit, room, missing, hash_step(seed, h) % ONE)
        offsets.append(offset)
        corrections.append(correction)
    by_block = zip(np.array(offsets).T, np.array(corrections).T, strict=True)
    return [RandomStart(offset, correction) for offset, correction in by_block]


def _walked(
    unit: list[int], room: list[int], missing: int, start: int
) -> tuple[list[int], list[int]]:
    before, seen, offsets, corrections = start, 0, [], []
    whole = max(sum(room), 1)
    for here, part in zip(unit, room, strict=True):
        share = missing * (seen + part) // whole - missing * seen // whole
        offsets.append(before % ONE)
        corrections.append(share)
        before += here + share
        seen += part
    return offsets, corrections


@numba.njit(cache=True)
def spread(unit: Array, stratum: Array, order: Array, correction: Array) -> Array:
    """Units to be added to each row (n,) so that they sum to `correction` (H,), in proportion to
    what the rows can give or take; differences of whole numbers, so that the sums are exact."""
    room, seen = np.zeros(correction.size, np.int64), np.zeros(correction.size, np.int64)
    for row in range(unit.size):
        h = stratum[row]
        room[h] += _givable(unit[row]) if correction[h] < 0 else _takeable(unit[row])
    added, upto = np.zeros(unit.size, np.int64), np.zeros(correction.size, np.int64)
    for row in order:
        h = stratum[row]
        if correction[h] != 0 and room[h] != 0:
            seen[h] += _givable(unit[row]) if correction[h] < 0 else _takeable(unit[row])
            now = np.int64(np.floor(correction[h] * (seen[h] / room[h])))
            added[row] = now - upto[h]
            upto[h] = now
    return added


@numba.njit(cache=True)
def _walk(unit: Array, stratum: Array, order: Array, offset: Array) -> Array:
    """A row is drawn where its stratum's running total passes a multiple of ONE."""
    drawn = np.zeros(unit.size, np.bool_)
    total = offset.copy()
    for row in order:
        h = stratum[row]
        total[h] += unit[row]
        if total[h] >= ONE:  # no pi exceeds 1, so never twice
            total[h] -= ONE
            drawn[row] = True
    return drawn


def _drawer(order: Callable[[Block], Array]) -> Callable[[Block, RandomStart], Array]:
    def draw(block: Block, start: RandomStart) -> Array:
        unit, rows = units(block.probability), order(block)
        added = spread(unit, block.stratum, rows, start.correction)
        return _walk(unit + added, block.stratum, rows, start.offset)

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
