"""The order of an epoch and who takes which row: pure index arithmetic, no state.

A batch belongs to all ranks together: step s of every rank is a share of the same `batch_size`
rows, so a model sees the same batches whatever the number of ranks. Where a batch does not divide
evenly the shorter shares are padded with a row of weight zero: every rank takes the same number
of steps, and each row occurs once an epoch over the ranks.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Share(NamedTuple):
    """One rank's part of one batch; the same length on every rank."""

    rows: NDArray[np.int64]  # (m,), places in the arrays of the refresh
    real: NDArray[np.bool_]  # (m,), False where the row is padding and must weigh nothing


def epoch_order(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of 0 ... rows - 1, int64, a function of (seed, epoch) alone.

    Sorting Philox's raw numbers, because NumPy keeps those, unlike `permutation`, for ever.
    """
    random = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(rows)
    return np.argsort(random, kind="stable")


def steps(rows: int, batch_size: int) -> int:
    """Steps an epoch, on every rank."""
    return -(-rows // batch_size)


def shares(
    order: NDArray[np.int64], batch_size: int, rank: int = 0, world: int = 1
) -> Iterator[Share]:
    """The batches of one rank for an epoch in this order; ValueError for an impossible rank."""
    if not 0 <= rank < world or batch_size < 1:
        raise ValueError(f"rank {rank} of {world} with batches of {batch_size}: not possible")
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        width = -(-len(batch) // world)
        rows = batch[rank::world]
        padding = width - len(rows)
        yield Share(
            rows=np.concatenate([rows, np.repeat(batch[:1], padding)]),
            real=np.arange(width) < len(rows),
        )
