"""An epoch of a refresh on disk, a window of rows at a time.

Where each row belongs is known before anything is read (`epoch.py`), so the reader of a file group
writes its rows straight to their windows: they are copied once here, and once into a batch.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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

# Where the rows of each file group go: first position and place of each run of them.
Destinations = Mapping[FileGroup, Sequence[tuple[int, Packed]]]


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
    number: int,
    first_row: int = 0,
    held_back: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[Packed, NDArray[np.int64]]]:
    """The rows of each window of epoch `number` from `first_row` of its order on, and their places
    in order: whole batches, but for the last window. The rows at the positions `held_back` (n,)
    weigh nothing and do not count.

    What a window leaves over is put before the rows of the next. A window's rows are overwritten
    once the one after the next is asked for.
    """
    groups, size, batch = refresh.file_groups, settings.shuffle_rows, settings.batch_size
    plan = list(windows(refresh.group_sizes, size, settings.seed, number))[first_row // size :]
    if not plan:
        return
    features = model_inputs(pipeline)
    slots = _slots(pipeline, refresh, settings, len(plan))
    fill = partial(_fill, _destinations(plan, groups, slots), features, held_back)
    # Read in the order of the epoch: that bounds how far from its window a row can be decoded.
    in_order = dict.fromkeys(groups[piece.group] for window in plan for piece in window)
    reading, filled = read_file_groups(pipeline, refresh, list(in_order), fill), set[FileGroup]()
    left_over, skipped = slots.part(0, 0, 0), first_row % size
    for turn, window in enumerate(plan):
        # Sorted first: the readers are at work meanwhile, once the first window is read.
        order = window_places(window, settings.seed, number)[skipped:]
        while not {groups[piece.group] for piece in window} <= filled:
            filled.add(next(reading))
        rows = slots.put_before(turn, left_over, sum(piece.rows for piece in window))
        order = np.concatenate([np.arange(len(left_over)), order + len(left_over)])
        end = len(order) if window is plan[-1] else len(order) // batch * batch
        yield rows, order[:end]
        left_over, skipped = rows.take(order[end:]), 0


def _slots(pipeline: Pipeline, refresh: Refresh, settings: Training, planned: int) -> Slots:
    """Slots for so many planned windows: one is in use, one is being completed, and the others have
    room for all that can be decoded ahead."""
    size = min(settings.shuffle_rows, refresh.drawn)
    ahead = (pipeline.training.readers + 1) * max(refresh.group_sizes)
    count = min(planned, 2 + -(-ahead // size))
    return Slots.of(count, settings.batch_size, size, model_inputs(pipeline))


def _destinations(
    plan: Sequence[Sequence[Piece]], groups: Sequence[FileGroup], slots: Slots
) -> Destinations:
    destinations: defaultdict[FileGroup, list[tuple[int, Packed]]] = defaultdict(list)
    for turn, window in enumerate(plan):
        end = 0
        for piece in by_position(window):
            rows = slots.part(turn, end, end := end + piece.rows)
            destinations[groups[piece.group]].append((piece.start, rows))
    return destinations


def _fill(
    destinations: Destinations,
    features: Sequence[ModelInput],
    held_back: NDArray[np.bool_] | None,
    group: FileGroup,
    columns: Columns,
) -> FileGroup:
    """Write a group's rows to their windows; the group, to say that this is done."""
    for position, rows in destinations[group]:
        here = slice(position - group.start, position - group.start + len(rows))
        rows.fill(features, {name: column[here] for name, column in columns.items()})
        if held_back is not None:
            rows.hold_back(held_back[position : position + len(rows)])
    return group
