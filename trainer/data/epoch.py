"""The order of an epoch and who takes which row: pure index arithmetic, no state.

Every row has a random key, a function of (seed, epoch, position). The file groups of a sample
follow one another in a random order, are cut into windows of at most `shuffle_rows` rows, and each
window is sorted by key. A sample that one window holds is in a uniformly random order, whatever its
groups. A larger one can be read as a stream that holds a window at a time and still has this very
order; its first windows are smaller, so that a stream's first rows need not wait for a whole one.

A batch belongs to all ranks together: step s of every rank is a share of the same `batch_size`
rows, so a model sees the same batches whatever the number of ranks. Where a batch does not divide
evenly the shorter shares are padded with a row of weight zero: every rank takes the same number
of steps, and each row occurs once an epoch over the ranks.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

# Philox counts draws in its first word; the fourth tells the uses of one (seed, epoch) apart.
_ROWS, _GROUPS, _HELD_BACK = 0, 1, 2
_WORDS = 4  # of 64 bits, that one count gives
_SIGN = np.uint32(1 << 31)
SMALLER = (8, 4, 2)  # times than the others: the first windows of a sample of several

ORDER = 2  # counts the definitions of the order that there have been: each gives other fits


class Share(NamedTuple):
    """One rank's part of one batch; the same length on every rank."""

    rows: NDArray[np.int64]  # (m,), places in the arrays of the refresh
    padding: int  # of them, at the end: these must weigh nothing

    @property
    def real(self) -> NDArray[np.bool_]:
        """Which rows (m,) are no padding."""
        return np.arange(len(self.rows)) < len(self.rows) - self.padding


class Piece(NamedTuple):
    """Rows `start` to `start + rows - 1` of the sample, in one file group, at an order's place."""

    group: int
    start: int
    rows: int


def sorted_places(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The places of the keys (n,) from the least key to the greatest; equal ones as they lie.

    Sorted are the upper halves, in half the time: among 262,144 random keys some eight pairs have
    the same, and those few are sorted again.
    """
    # Torch sorts four times faster than NumPy; signed numbers in the order of the unsigned keys.
    upper = (keys >> np.uint64(32)).astype(np.uint32) ^ _SIGN
    ordered, indices = torch.sort(torch.from_numpy(upper.view(np.int32)), stable=True)
    places = indices.numpy()
    equal = np.diff(ordered.numpy()) == 0
    if equal.any():
        tied = np.append(equal, False) | np.append(False, equal)
        among = places[tied]
        places[tied] = among[np.argsort(keys[among], kind="stable")]
    return places


def _keys(start: int, count: int, seed: int, epoch: int) -> NDArray[np.uint64]:
    """Random keys of positions start ... start + count - 1.

    Philox's raw numbers, because NumPy keeps those, unlike `permutation`, for ever.
    """
    skipped = start % _WORDS
    counter = np.array([start // _WORDS, 0, 0, _ROWS], np.uint64)
    return _philox(counter, seed, epoch).random_raw(skipped + count)[skipped:]


def _philox(counter: NDArray[np.uint64], seed: int, epoch: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=counter)


def windows(
    group_sizes: Sequence[int], shuffle_rows: int, seed: int, epoch: int
) -> Iterator[list[Piece]]:
    """The pieces of each window of an epoch; `group_sizes` are in rows, by position.

    A file group may be cut by a window's end; `window_sizes` has the sizes.
    """
    starts = np.cumsum([0, *group_sizes])
    rooms = window_sizes(int(starts[-1]), shuffle_rows)
    random = _philox(np.array([0, 0, 0, _GROUPS], np.uint64), seed, epoch)
    keys = random.random_raw(len(group_sizes))
    window: list[Piece] = []
    room = next(rooms, 0)
    for group in np.argsort(keys, kind="stable").tolist():
        start, left = int(starts[group]), group_sizes[group]
        while left:
            taken = min(left, room)
            window.append(Piece(group, start, taken))
            start, left, room = start + taken, left - taken, room - taken
            if room == 0:
                yield window
                window, room = [], next(rooms, 0)


def window_sizes(rows: int, shuffle_rows: int) -> Iterator[int]:
    """The rows of each window of a sample: all of them where they fit into one; else an eighth, a
    quarter and a half of `shuffle_rows`, then as many each, and in the last one what is left."""
    smaller = [max(1, shuffle_rows // part) for part in SMALLER] if rows > shuffle_rows else []
    for size in chain(smaller, repeat(shuffle_rows)):
        if rows <= 0:
            return
        yield min(size, rows)
        rows -= size


def by_position(window: Sequence[Piece]) -> list[Piece]:
    """The pieces of a window as they follow one another in the sample."""
    return sorted(window, key=lambda piece: piece.start)


def window_places(window: Sequence[Piece], seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of a window (m,): places among its rows by position, however its pieces lie."""
    return sorted_places(
        np.concatenate([_keys(p.start, p.rows, seed, epoch) for p in by_position(window)])
    )


def window_order(window: Sequence[Piece], seed: int, epoch: int) -> NDArray[np.int64]:
    """The same as positions in the sample."""
    rows = [np.arange(p.start, p.start + p.rows) for p in by_position(window)]
    return np.concatenate(rows)[window_places(window, seed, epoch)]


def sample_order(
    group_sizes: Sequence[int], shuffle_rows: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The positions of a whole epoch (n,) in order."""
    parts = [window_order(w, seed, epoch) for w in windows(group_sizes, shuffle_rows, seed, epoch)]
    return np.concatenate(parts)


def held_back(rows: int, share: float, seed: int) -> NDArray[np.bool_]:
    """The positions (rows,) that a fit of this seed validates on: a random share, at least one."""
    keys = _philox(np.array([0, 0, 0, _HELD_BACK], np.uint64), seed, 0).random_raw(rows)
    chosen = np.zeros(rows, np.bool_)
    chosen[np.argsort(keys, kind="stable")[: max(1, round(share * rows))]] = True
    return chosen


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
        if padding:
            rows = np.concatenate([rows, np.repeat(batch[:1], padding)])
        yield Share(rows, padding)
