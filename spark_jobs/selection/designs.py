"""Designs: how a set is drawn with given inclusion probabilities. Chosen by name.

Candidates are ordered by the hash of (id, seed); a block is a range of that order. Probabilities
are counted in whole units of 2^-40, so that sums over blocks are exact in any grouping and the
size of the sample is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.hashing import hash_step

UNIT_BITS = 40
ONE = 1 << UNIT_BITS
MATCH_GROUP = 1000  # rows within which mean-match equates the mean loss
MATCH_STEPS = 100


class UnitTotals(NamedTuple):
    """Of one block: the units of all its rows, and how many rows may give or take one."""

    units: int
    adjustable: int


class Start(NamedTuple):
    """What a block must know of the blocks before it."""

    offset: int  # units drawn from, by all blocks before, random start included
    correction: int  # units that this block adds (or, negative, takes) so that all sum to k


def units(probability: Array) -> Array:
    """Probabilities as whole units, 1 to 2^40, int64."""
    return np.maximum(1, np.rint(probability * ONE)).astype(np.int64)


def _adjustable(unit: Array) -> Array:
    return (unit > 1) & (unit < ONE - 1)


def unit_totals(probability: Array) -> UnitTotals:
    """Totals of a block, for `starts`."""
    unit = units(probability)
    return UnitTotals(int(unit.sum()), int(_adjustable(unit).sum()))


def starts(totals: list[UnitTotals], budget: int, seed: int) -> list[Start]:
    """Where each block begins, from the totals of all blocks in order.

    Rounding leaves the units some N/2 short of or above k; the difference is spread in single
    units (a change of pi below 1e-12) over blocks in proportion to their adjustable rows.
    """
    missing = budget * ONE - sum(t.units for t in totals)
    adjustable = sum(t.adjustable for t in totals)
    if abs(missing) > adjustable:
        raise ArithmeticError(f"probabilities sum to {missing / ONE:+.3g} away from k = {budget}")
    before, seen, result = hash_step(seed, 0) % ONE, 0, []
    for block in totals:
        share = _share(missing, seen + block.adjustable, adjustable) - _share(
            missing, seen, adjustable
        )
        result.append(Start(before, share))
        before += block.units + share
        seen += block.adjustable
    return result


def _share(missing: int, part: int, whole: int) -> int:
    return missing * part // whole if whole else 0


@dataclass(frozen=True)
class Design:
    """A way to draw, and whether its inclusion frequencies equal pi."""

    draw: Callable[[Array, Array, Start, int], Array]
    exact: bool


def systematic(probability: Array, loss: Array, start: Start, seed: int) -> Array:
    """Mask of the drawn rows of a block, in hash order: one cumulative sum, one random start.

    Madow, "On the theory of systematic sampling, II", 1949. A row is drawn where the running
    total of units passes a multiple of 2^40; no pi exceeds 1, so never twice.
    """
    unit = units(probability)
    if start.correction:
        rows = np.flatnonzero(_adjustable(unit))[: abs(start.correction)]
        unit[rows] += 1 if start.correction > 0 else -1
    total = start.offset % ONE + np.cumsum(unit)
    passed = total >> UNIT_BITS
    return np.diff(passed, prepend=0) > 0


def mean_match(probability: Array, loss: Array, start: Start, seed: int) -> Array:
    """Systematic start, then swaps until each group's drawn mean loss equals the group's.

    The paper's objective as we read it (methods.md, "OBFTF as we read it"). Groups are runs of at
    most `MATCH_GROUP` rows in hash order. Inclusion frequencies are not promised.
    """
    drawn = systematic(probability, loss, start, seed)
    groups = max(1, -(-loss.size // MATCH_GROUP))
    edges = np.linspace(0, loss.size, groups + 1).astype(np.int64)
    for group, (low, high) in enumerate(pairwise(edges)):
        picks = np.array(
            [hash_step(seed, start.offset, group, step) >> 1 for step in range(MATCH_STEPS)],
            dtype=np.int64,
        )
        _swap_to_mean(loss[low:high], drawn[low:high], picks)
    return drawn


@numba.njit(cache=True)
def _swap_to_mean(loss: Array, drawn: Array, picks: Array) -> None:
    """Swap a random drawn row for the undrawn one that best closes the gap; changes `drawn`."""
    chosen = np.flatnonzero(drawn)
    others = np.flatnonzero(~drawn)
    if chosen.size == 0 or others.size == 0:
        return
    wanted = loss.mean() * chosen.size
    gap = wanted - loss[chosen].sum()
    for pick in picks:
        if abs(gap) <= 1e-9 * abs(wanted):
            return
        out = pick % chosen.size
        target = loss[chosen[out]] + gap
        best, distance = -1, abs(gap)
        for j in range(others.size):
            if abs(loss[others[j]] - target) < distance:
                best, distance = j, abs(loss[others[j]] - target)
        if best >= 0:
            gap = target - loss[others[best]]
            drawn[chosen[out]], drawn[others[best]] = False, True
            chosen[out], others[best] = others[best], chosen[out]


DESIGNS: dict[str, Design] = {
    "systematic": Design(systematic, exact=True),
    "mean-match": Design(mean_match, exact=False),
}
