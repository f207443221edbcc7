"""Epochs of a refresh on disk, one after the other, a window of rows at a time.

Where each row belongs is known before anything is read (`epoch.py`), so the reader of a file group
writes its rows straight to their windows: they are copied once here, and once into a batch. The
readers do not stop at an epoch's end: the first window of the next is read beside the steps on the
last of this one.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.inputs import ModelInput, model_inputs
from schemas.pipeline import Pipeline
from schemas.sections.training import Training
from trainer.data.epoch import Piece, by_position, window_places, windows
from trainer.data.packed import Packed
from trainer.data.passes import Columns
from trainer.data.reader import read_file_groups
from trainer.data.refresh import FileGroup, Refresh


class Filled(NamedTuple):
    """A window in memory, and the order in which an epoch takes its rows."""

    rows: Packed  # overwritten once the window after the next is asked for
    order: NDArray[np.int64]  # places in `rows`; whole batches, but for the epoch's last window
    last: bool  # of its epoch


class Planned(NamedTuple):
    """A window that is to come."""

    epoch: int
    pieces: Sequence[Piece]
    last: bool

    @property
    def size(self) -> int:
        """Number of rows."""
        return sum(piece.rows for piece in self.pieces)


class ToRead(NamedTuple):
    """A file group that is to be read for an epoch, and where its rows go."""

    group: int
    runs: Sequence[tuple[int, int, Piece]]  # a window, its first row of these, and what they are


@dataclass(frozen=True)
class Room:
    """Memory for the windows that are wanted at a time, each behind space for the rows that the one
    before it left over."""

    rows: Packed
    starts: Sequence[int]  # of each window; it shares its rows with those of other times

    def part(self, window: int, start: int, end: int) -> Packed:
        """Rows start ... end - 1 of a window, a view; those in front of it are negative."""
        first = self.starts[window]
        return self.rows.part(first + start, first + end)

    def put_before(self, window: int, left_over: Packed, rows: int) -> Packed:
        """A window of so many rows with these in front of it, a view."""
        whole = self.part(window, -len(left_over), rows)
        whole.words[: len(left_over)] = left_over.words
        return whole


def streamed_windows(
    pipeline: Pipeline,
    refresh: Refresh,
    settings: Training,
    epochs: Sequence[int],
    first_row: int = 0,
    held_back: NDArray[np.bool_] | None = None,
) -> Iterator[Filled]:
    """The windows of these epochs, from `first_row` of the first one's order on. The rows at the
    positions `held_back` (n,) weigh nothing and do not count.

    What a window leaves over is put before the rows of its epoch's next.
    """
    plan, skipped = _plan(refresh, settings, epochs, first_row)
    if not plan:
        return
    readings = _readings(plan)
    needed = _needed(plan, readings)
    features, batch = model_inputs(pipeline), settings.batch_size
    starts, size = _shared(plan, _begun(readings, needed, pipeline.training.readers), batch)
    room = Room(Packed.room(size, features), starts)
    wanted = (
        (group, partial(_fill, group, reading.runs, room, features, held_back))
        for reading in readings
        for group in [refresh.file_groups[reading.group]]
    )
    reading, read = read_file_groups(pipeline, refresh, wanted), 0
    nothing = left_over = room.part(0, 0, 0)
    for turn, window in enumerate(plan):
        # Sorted first: the readers are at work meanwhile, once the first window is read.
        order = window_places(window.pieces, settings.seed, window.epoch)[skipped:]
        while read < needed[turn]:
            next(reading)
            read += 1
        rows = room.put_before(turn, left_over, window.size)
        order = np.concatenate([np.arange(len(left_over)), order + len(left_over)])
        end = len(order) if window.last else len(order) // batch * batch
        yield Filled(rows, order[:end], window.last)
        left_over, skipped = rows.take(order[end:]) if len(order) > end else nothing, 0


def _plan(
    refresh: Refresh, settings: Training, epochs: Sequence[int], first_row: int
) -> tuple[list[Planned], int]:
    """The windows of these epochs without those before `first_row`, and the rows of the first of
    them that are to be left out."""
    plan = []
    for epoch in epochs:
        pieces = list(windows(refresh.group_sizes, settings.shuffle_rows, settings.seed, epoch))
        plan += [Planned(epoch, window, window is pieces[-1]) for window in pieces]
    while plan and first_row >= plan[0].size:
        first_row -= plan.pop(0).size
    return plan, first_row


def _readings(plan: Sequence[Planned]) -> list[ToRead]:
    """The file groups in the order in which they are first needed: that bounds how far from its
    window a row can be decoded."""
    found: dict[tuple[int, int], list[tuple[int, int, Piece]]] = {}
    for turn, window in enumerate(plan):
        begins: Mapping[Piece, int] = dict(_begins(window.pieces))
        for piece in window.pieces:
            found.setdefault((window.epoch, piece.group), []).append((turn, begins[piece], piece))
    return [ToRead(group, runs) for (_, group), runs in found.items()]


def _begins(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, int]]:
    """The pieces of a window by position, and the first row of each in it."""
    ordered = by_position(pieces)
    return zip(ordered, accumulate((piece.rows for piece in ordered), initial=0), strict=False)


def _needed(plan: Sequence[Planned], readings: Sequence[ToRead]) -> list[int]:
    """How many of the readings must be done for each window."""
    last = [0] * len(plan)
    for number, reading in enumerate(readings):
        for turn, _, _ in reading.runs:
            last[turn] = number + 1
    return last


def _begun(readings: Sequence[ToRead], needed: Sequence[int], ahead: int) -> dict[int, int]:
    """For each window the first turn in which a reader may write to it: the window that is then
    completed waits for the reading `ahead` places before."""
    begun: dict[int, int] = {}
    for number, reading in enumerate(readings):
        for turn, _, _ in reading.runs:
            begun.setdefault(turn, bisect_right(needed, number - ahead))
    return begun


def _shared(
    plan: Sequence[Planned], begun: Mapping[int, int], before: int
) -> tuple[list[int], int]:
    """Where each window's rows start, and the rows of all the memory: the first gap among the
    windows that are wanted at the same time. A window is wanted from the turn in which it is begun
    to the one after its own, in which it is in use and the next is completed."""
    starts: list[int] = []
    taken: list[tuple[int, int, int]] = []  # first row, end, last turn
    size = 0
    for turn, window in enumerate(plan):
        taken = [one for one in taken if one[2] >= begun[turn]]
        start, length = 0, before + window.size
        for first, end, _ in sorted(taken):
            if start + length <= first:
                break
            start = end
        taken.append((start, start + length, turn + 1))
        starts.append(start + before)
        size = max(size, start + length)
    return starts, size


def _fill(
    group: FileGroup,
    runs: Sequence[tuple[int, int, Piece]],
    room: Room,
    features: Sequence[ModelInput],
    held_back: NDArray[np.bool_] | None,
    columns: Columns,
) -> None:
    """Write a group's rows to their windows."""
    for turn, first, piece in runs:
        rows = room.part(turn, first, first + piece.rows)
        here = slice(piece.start - group.start, piece.start - group.start + piece.rows)
        rows.fill(features, {name: column[here] for name, column in columns.items()})
        if held_back is not None:
            rows.hold_back(held_back[piece.start : piece.start + piece.rows])
