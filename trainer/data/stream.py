"""Epochs of a refresh on disk, one after the other, a window of rows at a time.

Where each row belongs is known before anything is read (`epoch.py`), so the reader of a file group
writes its rows straight to their windows: they are copied once here, and once into a batch. The
readers do not stop at an epoch's end: the first window of the next is read beside the steps on the
last of this one.
"""

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
class Slots:
    """Memory for a few windows, which take turns in it: window n is in slot n % count, behind
    space for rows that the window before it left over."""

    rows: Packed  # of all slots, one behind the other
    count: int
    before: int  # rows that fit in front of a window
    size: int  # rows that a window has at most

    @staticmethod
    def of(count: int, before: int, size: int, features: Sequence[ModelInput]) -> "Slots":
        """Slots with whatever is there."""
        return Slots(Packed.room(count * (before + size), features), count, before, size)

    def part(self, window: int, start: int, end: int) -> Packed:
        """Rows start ... end - 1 of a window, a view; those in front of it are negative."""
        first = window % self.count * (self.before + self.size) + self.before
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
    features, batch = model_inputs(pipeline), settings.batch_size
    count = _slots_needed(plan, readings, pipeline.training.readers)
    slots = Slots.of(count, batch, max(window.size for window in plan), features)
    wanted = (
        (group, partial(_fill, group, reading.runs, slots, features, held_back))
        for reading in readings
        for group in [refresh.file_groups[reading.group]]
    )
    reading, read = read_file_groups(pipeline, refresh, wanted), 0
    nothing = left_over = slots.part(0, 0, 0)
    for turn, (window, needed) in enumerate(zip(plan, _needed(plan, readings), strict=True)):
        # Sorted first: the readers are at work meanwhile, once the first window is read.
        order = window_places(window.pieces, settings.seed, window.epoch)[skipped:]
        while read < needed:
            next(reading)
            read += 1
        rows = slots.put_before(turn, left_over, window.size)
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


def _slots_needed(plan: Sequence[Planned], readings: Sequence[ToRead], ahead: int) -> int:
    """As many as there are windows from the one in use to the last that a group belongs to which
    can be decoded while the next one is completed."""
    ends = [max(turn for turn, _, _ in reading.runs) for reading in readings]
    most = 1
    for turn, needed in enumerate(_needed(plan, readings)):
        furthest = ends[min(needed - 1 + ahead, len(ends) - 1)]
        most = max(most, furthest - max(0, turn - 1) + 1)
    return most


def _fill(
    group: FileGroup,
    runs: Sequence[tuple[int, int, Piece]],
    slots: Slots,
    features: Sequence[ModelInput],
    held_back: NDArray[np.bool_] | None,
    columns: Columns,
) -> None:
    """Write a group's rows to their windows."""
    for turn, first, piece in runs:
        rows = slots.part(turn, first, first + piece.rows)
        here = slice(piece.start - group.start, piece.start - group.start + piece.rows)
        rows.fill(features, {name: column[here] for name, column in columns.items()})
        if held_back is not None:
            rows.hold_back(held_back[piece.start : piece.start + piece.rows])
