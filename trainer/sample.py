"""The training rows of a refresh as a fit takes them: kept in memory, or read anew every epoch.

Both give the same batches in the same order (`trainer/epoch.py`), so which of them is used is a
matter of memory alone.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.command import log
from schemas.pipeline import Pipeline
from schemas.tables import sampled
from schemas.training import Training
from trainer.batches import Batch, Resident
from trainer.epoch import Piece, sample_order, window_order, windows
from trainer.packed import Packed
from trainer.ranks import Ranks
from trainer.reader import Rows, read_sampled, read_shards
from trainer.refresh import Refresh

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
        return self._resident[ranks.device].batches(rest, settings.batch_size, ranks)

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
        return read_shards(self.pipeline, self.refresh, self.refresh.shards)

    def epoch(
        self, number: int, settings: Training, ranks: Ranks, first_step: int = 0
    ) -> Iterator[Batch]:
        """This rank's batches of an epoch, from a step on; what came before is not read."""
        size = settings.batch_size
        carried: list[Packed] = []  # a window's end, too short for a batch
        for window, last in _ahead(self._ordered(number, settings, first_step * size)):
            # The first batch has the end of the window before; the others are not copied again.
            begun = sum(map(len, carried))
            first = min(-begun % size, len(window)) if begun else 0
            if begun + first < size and not last and begun:
                carried.append(window)
                continue
            if begun:
                head = Packed.joined([*carried, window.part(0, first)])
                yield from Resident.of(head, ranks.device).in_order(size, ranks)
            whole = len(window) if last else first + (len(window) - first) // size * size
            if whole > first:
                rest = Resident.of(window.part(first, whole), ranks.device)
                yield from rest.in_order(size, ranks)
            carried = [window.part(whole, len(window))] if whole < len(window) else []

    def _ordered(
        self, number: int, settings: Training, first_row: int
    ) -> Iterator[tuple[Packed, bool]]:
        """The rows of each window in the order of the epoch, from a place of it on; whether it is
        the last window."""
        counts = [shard.rows for shard in self.refresh.shards]
        size = settings.shuffle_rows
        plan = list(windows(counts, size, settings.seed, number))[first_row // size :]
        wanted = list(dict.fromkeys(piece.shard for window in plan for piece in window))
        shards = [self.refresh.shards[place] for place in wanted]
        read = zip(wanted, read_shards(self.pipeline, self.refresh, shards, Packed.of), strict=True)
        held: dict[int, Packed] = {}
        skipped = first_row % size
        for window in plan:
            while not {piece.shard for piece in window} <= set(held):
                place, rows = next(read)
                held[place] = rows
            order = window_order(window, settings.seed, number)[skipped:]
            yield self._gathered(window, held, order), window is plan[-1]
            skipped = 0
            last = window[-1].shard  # the only one that may go on in the next window
            held = {place: rows for place, rows in held.items() if place == last}

    def _gathered(
        self, window: Sequence[Piece], held: dict[int, Packed], order: NDArray[np.int64]
    ) -> Packed:
        """The rows of a window, taken from its shards, at the positions of `order`."""
        pieces = sorted(window, key=lambda piece: piece.start)
        parts = []
        for piece in pieces:
            start = piece.start - self.refresh.shards[piece.shard].start
            parts.append(held[piece.shard].part(start, start + piece.rows))
        ends = np.cumsum([piece.rows for piece in pieces])
        number = np.searchsorted([piece.start for piece in pieces], order, side="right") - 1
        before = np.array([p.start - (e - p.rows) for p, e in zip(pieces, ends, strict=True)])
        rows = Packed.joined(parts).take(order - before[number])
        return rows if self.held_back is None else rows.without_weight(self.held_back[order])

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
    return Packed.joined(list(read_shards(pipeline, refresh, refresh.shards, Packed.of)))


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


def _ahead(made: Iterator[tuple[Packed, bool]]) -> Iterator[tuple[Packed, bool]]:
    """The same, each made while the one before it is used."""
    # The thread sorts with torch: see `trainer/threads.py`.
    with ThreadPoolExecutor(1, "window", torch.set_num_threads, (1,)) as pool:
        coming = pool.submit(next, made, None)
        while (window := coming.result()) is not None:
            coming = pool.submit(next, made, None)
            yield window
