"""The cube method: exact probabilities, fixed size, and totals that the sample reproduces.

Deville and Tille, "Efficient balanced sampling: the cube method", Biometrika 2004; the fast flight
phase of Chauvet and Tille 2006; strata first, then all together, as Chauvet 2009 has it. Balanced
on: the number of rows of each stratum, N, the residual, the loss, the label, and the number of
candidates of each segment level, each expanded by 1 / pi; where rows have weights of their own,
on the totals of the weighted rows.

Flight runs within each segment of a block, then over what those leave of the block. The few rows
that each block leaves undecided are landed together, so the imbalance does not add up over blocks.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs.design import Block, Passes, States
from spark_jobs.selection.designs.flight import flight
from spark_jobs.selection.hashing import hash_step

# The cost of a step grows with the cube of the columns. Segment keys beyond these are balanced
# through the order of the rows alone.
MAX_LEVELS = 40
_WITHIN, _ACROSS, _LANDING = 1, 2, 3  # parts of the seed


class Undecided(NamedTuple):
    """What the flight of a block leaves: rows (u,), their phi (u,), their columns (u, p)."""

    rows: Array
    phi: Array
    columns: Array


class Landed(NamedTuple):
    """The end of a block's undecided rows (u,): drawn or not."""

    rows: Array
    drawn: Array


def _expanded(block: Block) -> Array:
    """N, residual, loss and label over pi, shape (n, q); the label only where it is a number."""
    columns = [block.counts[:, None], block.residual, block.loss[:, None]]
    if block.residual.shape[1] == 1:
        columns.append(block.label[:, None])
    return np.hstack(columns) / block.probability[:, None]


def balanced_places(levels: tuple[int, ...]) -> int:
    """How many segment keys, from the first, are balanced by columns of their own."""
    used, places = 0, 0
    for count in levels:
        used += count - 1
        if used > MAX_LEVELS:
            break
        places += 1
    return places


def _all_columns(block: Block, rows: Array, expanded: Array) -> Array:
    """Columns of some rows (u, p), in the order in which landing keeps them: the last goes first.

    The last level of a segment key is what the others and N leave.
    """
    counts = block.stratum[rows, None] == np.arange(block.budgets.size)
    columns = [counts.astype(np.float64), expanded[rows]]
    worth = (block.counts / block.probability)[rows, None]
    for place in range(balanced_places(block.levels)):
        is_level = block.segments[rows, place, None] == np.arange(block.levels[place] - 1)
        columns.append(is_level * worth)
    return np.hstack(columns)


def fly(block: Block) -> tuple[Array, Undecided]:
    """phi of every row after the flight (n,), and what is left undecided."""
    phi = block.probability.copy()
    expanded = _expanded(block)
    within = np.ascontiguousarray(np.hstack([np.ones((phi.size, 1)), expanded]))
    places = balanced_places(block.levels)
    keys = (*block.segments[:, :places].T[::-1], block.stratum)
    order = np.lexsort(keys)
    cells = np.stack([key[order] for key in keys])
    edges = np.flatnonzero((np.diff(cells, axis=1, prepend=-1) != 0).any(axis=0))
    left = []
    for cell, (low, high) in enumerate(pairwise([*edges, phi.size])):
        seed = hash_step(block.seed, _WITHIN, block.number, cell)
        left.append(flight(phi, within, order[low:high], seed))
    rows = np.concatenate(left)
    columns = _all_columns(block, rows, expanded)
    own = phi[rows]
    seed = hash_step(block.seed, _ACROSS, block.number)
    still = flight(own, columns, np.arange(rows.size), seed)
    phi[rows] = own
    return phi, Undecided(rows[still], own[still], columns[still])


def _undecided(block: Block) -> Undecided:
    return fly(block)[1]


def prepare(passes: Passes, budgets: Array, seed: int) -> States:
    """Fly every block, land what they leave together."""
    left = passes.each(_undecided)
    phi = np.concatenate([one.phi for one in left.values()])
    columns = np.concatenate([one.columns for one in left.values()])
    land(phi, columns, budgets.size, seed)
    ends = np.cumsum([one.phi.size for one in left.values()])[:-1]
    drawn = np.split(phi > 0.5, ends)
    landed = (Landed(one.rows, mask) for one, mask in zip(left.values(), drawn, strict=True))
    return States(by_block=dict(zip(left, landed, strict=True)))


def land(phi: Array, columns: Array, strata: int, seed: int) -> None:
    """Decide every phi (u,), in place: fly, drop the last column, fly again (2004, section 3.6.2).

    The columns of the strata's sizes stay to the end, and with them the sums are whole numbers.
    """
    rows = np.arange(phi.size)
    kept = columns.shape[1]
    while rows.size and kept >= strata:
        part = np.ascontiguousarray(columns[:, :kept])
        rows = flight(phi, part, rows, hash_step(seed, _LANDING, kept))
        kept -= 1
    phi[rows] = np.rint(phi[rows])


def draw(block: Block, landed: Landed) -> Array:
    """Mask of the drawn rows."""
    phi, _ = fly(block)
    drawn = phi > 0.5
    drawn[landed.rows] = landed.drawn
    return drawn
