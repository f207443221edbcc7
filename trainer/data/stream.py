"""An epoch of a refresh on disk, a window of rows at a time.

Where each row belongs is known before anything is read (`epoch.py`), so a shard's reader
writes its rows straight to their windows: they are copied once here, and once into a batch.
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from schemas.inputs import model_inputs
from schemas.pipeline import Pipeline
from schemas.sections.training import Training
from trainer.data.epoch import by_position, window_places, windows
from trainer.data.packed import Packed
from trainer.data.reader import Columns, read_shards
from trainer.data.refresh import Refresh, Shard


def streamed_windows(
    pipeline: Pipeline,
    refresh: Refresh,
    settings: Training,
    number: int,
    first_row: int = 0,
    weightless: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[Packed, NDArray[np.int64]]]:
    """The rows of each window of epoch `number` from `first_row` of its order on, and their places
    in order: whole batches, but for the last window. The rows at the positions `weightless` (n,)
    weigh nothing.

    What a window leaves over is put before the rows of the next. A window's rows are overwritten
    once the one after the next is asked for.
    """
    counts = [shard.rows for shard in refresh.shards]
    size, batch = settings.shuffle_rows, settings.batch_size
    plan = list(windows(counts, size, settings.seed, number))[first_row // size :]
    if not plan:
        return
    features = model_inputs(pipeline)
    # Windows take turns at the slots, each behind room for what is left over. One is in use, one is
    # being completed, and the others have room for all that can be decoded ahead.
    most = min(size, sum(counts))
    ahead = (pipeline.training.readers + 1) * max(counts)
    slots = min(len(plan), 2 + -(-ahead // most))
    room = Packed.room(slots * (batch + most), features)
    starts = [turn % slots * (batch + most) + batch for turn in range(len(plan))]
    parts: defaultdict[Shard, list[tuple[int, Packed]]] = defaultdict(list)
    for end, window in zip(starts, plan, strict=True):
        for piece in by_position(window):
            rows = room.part(end, end := end + piece.rows)
            parts[refresh.shards[piece.shard]].append((piece.start, rows))

    def fill(shard: Shard, columns: Columns) -> Shard:
        for start, rows in parts[shard]:
            here = slice(start - shard.start, start - shard.start + len(rows))
            rows.fill(features, {name: column[here] for name, column in columns.items()})
            if weightless is not None:
                rows.weight[weightless[start : start + len(rows)]] = 0
        return shard

    needed = [{refresh.shards[piece.shard]: None for piece in window} for window in plan]
    shards = list(dict.fromkeys(shard for window in needed for shard in window))
    read, filled = read_shards(pipeline, refresh, shards, fill), set[Shard]()
    left, skipped = room.part(0, 0), first_row % size
    for start, window, wanted in zip(starts, plan, needed, strict=True):
        # Sorted first: the readers are at work meanwhile, once the first window is read.
        order = window_places(window, settings.seed, number)[skipped:]
        while not wanted.keys() <= filled:
            filled.add(next(read))
        begun, end = len(left), start + sum(piece.rows for piece in window)
        rows = room.part(start - begun, end)
        rows.words[:begun] = left.words
        order = np.concatenate([np.arange(begun), order + begun])
        whole = len(order) if window is plan[-1] else len(order) // batch * batch
        yield rows, order[:whole]
        left, skipped = rows.take(order[whole:]), 0
