"""The training rows of a refresh as a fit takes them: kept in memory, or read anew every epoch.

Both give the same batches in the same order (`trainer/epoch.py`), so which of them is used is a
matter of memory alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.bundle import model_inputs
from schemas.command import log
from schemas.pipeline import Pipeline
from schemas.tables import sampled
from schemas.training import Training
from trainer.batches import Batch, Resident
from trainer.epoch import Piece, by_position, sample_order, window_places, windows
from trainer.packed import Packed
from trainer.ranks import Ranks
from trainer.reader import Rows, read_sampled, read_shards, rows_from
from trainer.refresh import Refresh
from trainer.threads import ahead

MEMORY_SHARE = 0.25  # of what is free: a GPU's memory also holds the model, a host's the page cache


class Sample(Protocol):
    """Training rows."""

    def __len__(self) -> int:
        """Number of rows."""

    def parts(self) -> Iterator[Rows]:
        """All rows in `position` order, a part at a time; the parts are the sample's own."""

    def epoch(
        self, number: int, settings: Training, ranks: Ranks, first_step: int = 0
    ) -> Iterator[Batch]:
        """This rank's batches of an epoch, from a step on."""

    def without(self, held_back: NDArray[np.bool_]) -> "tuple[Sample, Rows]":
        """The sample with the rows at these positions (n,) weighing nothing, and these rows."""


@dataclass
class Kept:
    """Rows in memory; on a GPU they stay on it."""

    rows: Packed
    shards: Sequence[int]  # row counts, by position
    _resident: dict[torch.device, Resident] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def parts(self) -> Iterator[Rows]:
        """All rows in `position` order, a shard at a time."""
        ends = np.cumsum(self.shards)
        for start, end in zip(ends - self.shards, ends, strict=True):
            yield self.rows.part(start, end).rows()

    def epoch(
        self, number: int, settings: Training, ranks: Ranks, first_step: int = 0
    ) -> Iterator[Batch]:
        """This rank's batches of an epoch, from a step on."""
        if ranks.device not in self._resident:
            self._resident[ranks.device] = Resident.of(self.rows, ranks.device)
        order = sample_order(self.shards, settings.shuffle_rows, settings.seed, number)
        rest = order[first_step * settings.batch_size :]
        yield from self._resident[ranks.device].batches(rest, settings.batch_size, ranks)

    def without(self, held_back: NDArray[np.bool_]) -> tuple[Sample, Rows]:
        """The sample with the rows at these positions (n,) weighing nothing, and these rows."""
        rows = self.rows.take(np.flatnonzero(held_back)).rows()
        return Kept(self.rows.without_weight(held_back), self.shards), rows


def in_memory(rows: Rows) -> Kept:
    """Rows that are there already, as one shard."""
    return Kept(Packed.of(rows), [len(rows)])


@dataclass(frozen=True)
class Streamed:
    """Rows on disk, of which a window at a time is in memory, and the next one on its way."""

    pipeline: Pipeline
    refresh: Refresh
    held_back: NDArray[np.bool_] | None = None  # (n,), the positions that weigh nothing

    def __len__(self) -> int:
        return self.refresh.drawn

    def parts(self) -> Iterator[Rows]:
        """All rows in `position` order, a shard at a time."""
        return read_shards(self.pipeline, self.refresh, self.refresh.shards, rows_from)

    def epoch(
        self, number: int, settings: Training, ranks: Ranks, first_step: int = 0
    ) -> Iterator[Batch]:
        """This rank's batches of an epoch, from a step on; what came before is not read."""
        size = settings.batch_size
        for rows, order in ahead(self._windows(number, settings, first_step * size), "window"):
            yield from Resident.of(rows, ranks.device).batches(order, size, ranks)

    def _windows(
        self, number: int, settings: Training, first_row: int
    ) -> Iterator[tuple[Packed, NDArray[np.int64]]]:
        """Rows of the epoch from a place of it on, and their order: whole batches, a window at a
        time. What a window's end leaves over comes first in the next one."""
        counts = [shard.rows for shard in self.refresh.shards]
        size, batch = settings.shuffle_rows, settings.batch_size
        plan = list(windows(counts, size, settings.seed, number))[first_row // size :]
        most, features = min(size, len(self)) + batch, model_inputs(self.pipeline)
        room = cycle([Packed.room(most, features) for _ in range(2)])  # one is in use meanwhile
        read, held = self._read(plan), dict[int, Packed]()
        left, skipped = list[Packed](), first_row % size
        for window in plan:
            # Sorted first: the readers are at work meanwhile.
            order = window_places(window, settings.seed, number)[skipped:]
            while not {piece.shard for piece in window} <= set(held):
                place, shard = next(read)
                held[place] = shard
            begun = sum(map(len, left))
            parts = [*left, *(self._part(held, piece) for piece in by_position(window))]
            rows = next(room).overwritten(parts)
            order = np.concatenate([np.arange(begun), order + begun])
            whole = len(order) if window is plan[-1] else len(order) // batch * batch
            yield rows, order[:whole]
            left, skipped = [rows.take(order[whole:])], 0
            last = window[-1].shard  # the only one that may go on in the next window
            held = {place: shard for place, shard in held.items() if place == last}

    def _read(self, plan: Sequence[Sequence[Piece]]) -> Iterator[tuple[int, Packed]]:
        """The shards of these windows with their numbers, as they are needed."""
        wanted = list(dict.fromkeys(piece.shard for window in plan for piece in window))
        shards = [self.refresh.shards[place] for place in wanted]
        read = read_shards(self.pipeline, self.refresh, shards, Packed.from_columns)
        for place, shard, rows in zip(wanted, shards, read, strict=True):
            if self.held_back is not None:
                rows.weight[self.held_back[shard.start : shard.start + shard.rows]] = 0
            yield place, rows

    def _part(self, held: Mapping[int, Packed], piece: Piece) -> Packed:
        start = piece.start - self.refresh.shards[piece.shard].start
        return held[piece.shard].part(start, start + piece.rows)

    def without(self, held_back: NDArray[np.bool_]) -> tuple[Sample, Rows]:
        """The sample with the rows at these positions (n,) weighing nothing, and these rows."""
        places = np.split(held_back, np.cumsum([shard.rows for shard in self.refresh.shards])[:-1])
        found = [
            rows.map(lambda column, here=here: column[here])  # type: ignore[misc]
            for rows, here in zip(self.parts(), places, strict=True)
        ]
        return replace(self, held_back=held_back), Rows.joined(found)


def open_sample(pipeline: Pipeline, refresh: Refresh, ranks: Ranks) -> Sample:
    """The sample, in memory if it fits there or the settings say so."""
    settings = pipeline.training
    needed, free = memory_needed(pipeline, refresh.drawn), _free_memory(ranks)
    keep = settings.keep == "memory" or (settings.keep == "auto" and needed <= MEMORY_SHARE * free)
    if keep:
        counts = [shard.rows for shard in refresh.shards]
        return Kept(read_packed(pipeline, refresh), counts)
    log.info(
        "%d rows of %.1f GB in memory are streamed instead, %.1f GB are free",
        refresh.drawn,
        needed / 1e9,
        free / 1e9,
    )
    return Streamed(pipeline, refresh)


def read_packed(pipeline: Pipeline, refresh: Refresh) -> Packed:
    """All rows of a refresh."""
    if not refresh.shards:
        return Packed.of(read_sampled(pipeline, refresh))
    return Packed.joined(list(read_shards(pipeline, refresh, refresh.shards, Packed.from_columns)))


def memory_needed(pipeline: Pipeline, rows: int) -> int:
    """Bytes of the rows as the model takes them: codes grow to eight bytes."""
    widths = {
        name: 8 if dtype.base.kind == "i" else dtype.itemsize
        for name, dtype in sampled(pipeline).reader_fields.items()
    }
    return rows * sum(widths.values())


def _free_memory(ranks: Ranks) -> float:
    """Bytes that this rank may hope for: a GPU's own, or its part of the host's."""
    if ranks.device.type == "cuda":
        return float(torch.cuda.mem_get_info(ranks.device)[0])
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    known = dict(line.split(":") for line in lines)
    return float(known["MemAvailable"].split()[0]) * 1024 / ranks.world
