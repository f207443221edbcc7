"""Mean matching: in each group, the drawn rows' mean loss equals the group's.

The objective of "One Backward from Ten Forward" (Dong et al., arXiv 2104.13114) as we read it
(docs/selection.md): a systematic start, then swaps of a random drawn row for the undrawn row that
best closes its part of the gap. The gap is spread over many swaps: closed at once, it would pull in
the largest losses. Inclusion frequencies are not promised.
"""

from itertools import pairwise

import numba
import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs.design import Block
from spark_jobs.selection.designs.systematic import RandomStart, in_hash_order
from spark_jobs.selection.hashing import hash_long, hash_step

GROUP = 1000  # rows, at most, within which the means are equal; runs of the hash order
STEPS = 100
_TOLERANCE = 1e-9  # of the wanted sum
_GOOD_ENOUGH = 1e-5  # above, the best of all pairs is looked for
_BEST_PAIRS = 32


def draw(block: Block, start: RandomStart) -> Array:
    """Mask of the drawn rows."""
    drawn = in_hash_order(block, start)
    groups = max(1, -(-block.loss.size // GROUP))
    edges = np.linspace(0, block.loss.size, groups + 1).astype(np.int64)
    for group, (low, high) in enumerate(pairwise(edges)):
        seed = np.uint64(hash_step(block.seed, block.number, group))
        part = slice(low, high)
        swap_to_mean(block.loss[part], block.stratum[part], drawn[part], seed)
    return drawn


@numba.njit(cache=True)
def swap_to_mean(loss: Array, stratum: Array, drawn: Array, seed: np.uint64) -> None:
    """Swap within strata until the drawn mean is the mean of all; changes `drawn`."""
    chosen = np.flatnonzero(drawn)
    others = np.flatnonzero(~drawn)
    if chosen.size == 0 or others.size == 0:
        return
    wanted = loss.mean() * chosen.size
    gap = wanted - loss[chosen].sum()
    spread = min(STEPS // 2, chosen.size)
    for step in range(STEPS):
        if abs(gap) <= _TOLERANCE * abs(wanted):
            return
        pick = hash_long(np.uint64(step), seed) >> np.uint64(1)
        out = int(pick % np.uint64(chosen.size))
        part = gap / max(spread - step, 1)
        target = loss[chosen[out]] + part
        best, distance = -1, abs(part)
        for j in range(others.size):
            away = abs(loss[others[j]] - target)
            if away < distance and stratum[others[j]] == stratum[chosen[out]]:
                best, distance = j, away
        if best >= 0:
            gap += _swap(loss, drawn, chosen, others, out, best)
    for _ in range(_BEST_PAIRS):  # a giant that was drawn is seldom picked by chance
        if abs(gap) <= _GOOD_ENOUGH * abs(wanted):
            return
        first, second = _best_pair(loss, stratum, chosen, others, gap)
        if second < 0:
            return
        gap += _swap(loss, drawn, chosen, others, first, second)


@numba.njit(cache=True)
def _swap(loss: Array, drawn: Array, chosen: Array, others: Array, out: int, best: int) -> float:
    """Exchange a drawn and an undrawn row; the change of the gap."""
    change = loss[chosen[out]] - loss[others[best]]
    drawn[chosen[out]], drawn[others[best]] = False, True
    chosen[out], others[best] = others[best], chosen[out]
    return change


@numba.njit(cache=True)
def _best_pair(
    loss: Array, stratum: Array, chosen: Array, others: Array, gap: float
) -> tuple[int, int]:
    """The pair of one stratum whose exchange leaves the smallest gap; (-1, -1) if none helps."""
    best, least = (-1, -1), abs(gap)
    for i in range(chosen.size):
        for j in range(others.size):
            left = abs(gap + loss[chosen[i]] - loss[others[j]])
            if left < least and stratum[chosen[i]] == stratum[others[j]]:
                best, least = (i, j), left
    return best
