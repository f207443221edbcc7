"""The training rows of a refresh as a fit takes them: kept in memory, or read anew every epoch.

Both give the same batches in the same order (`epoch.py`), so which of them is used is a
matter of memory alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.inputs import model_inputs
from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.progress import step
from schemas.sections.training import Training
from schemas.tables import sampled
from trainer.data.batches import Batch, Resident, batches
from trainer.data.epoch import sample_order
from trainer.data.packed import Packed
from trainer.data.passes import Columns
from trainer.data.reader import Rows, read_file_groups, read_parts, read_sampled
from trainer.data.refresh import FileGroup, Refresh
from trainer.data.stream import Filled, streamed_windows
from trainer.processes.ranks import Ranks
from trainer.processes.threads import ahead

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
        """The sample with the rows at these positions (n,) held back, and these rows."""


@dataclass
class Kept:
    """Rows in memory; on a GPU they stay on it."""

    rows: Packed
    group_sizes: Sequence[int]  # rows of each file group, by position
    _resident: dict[torch.device, Resident] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def parts(self) -> Iterator[Rows]:
        """All rows in `position` order, a file group at a time."""
        ends = np.cumsum(self.group_sizes)
        for start, end in zip(ends - self.group_sizes, ends, strict=True):
            yield self.rows.part(start, end).rows()

    def epoch(
        self, number: int, settings: Training, ranks: Ranks, first_step: int = 0
    ) -> Iterator[Batch]:
        """This rank's batches of an epoch, from a step on."""
        if ranks.device not in self._resident:
            self._resident[ranks.device] = Resident.of(self.rows, ranks.device)
        order = sample_order(self.group_sizes, settings.shuffle_rows, settings.seed, number)
        rest = order[first_step * settings.batch_size :]
        yield from batches([(self._resident[ranks.device], rest)], settings.batch_size, ranks)

    def without(self, held_back: NDArray[np.bool_]) -> tuple[Sample, Rows]:
        """The sample with the rows at these positions (n,) held back, and these rows."""
        rows = self.rows.take(np.flatnonzero(held_back)).rows()
        return Kept(self.rows.without(held_back), self.group_sizes), rows


def in_memory(rows: Rows) -> Kept:
    """Rows that are there already, as one group."""
    return Kept(Packed.of(rows), [len(rows)])


@dataclass
class Streamed:
    """Rows on disk, of which a window at a time is in memory, and the next one on its way: at the
    end of an epoch the first of the epoch that follows, as long as `training.epochs` says so."""

    pipeline: Pipeline
    refresh: Refresh
    held_back: NDArray[np.bool_] | None = None  # (n,), by position
    # An epoch begun ahead: its number and settings, and its windows.
    _on_its_way: tuple[tuple[int, Training], Iterator[Filled]] | None = field(
        default=None, init=False
    )

    def __len__(self) -> int:
        return self.refresh.drawn

    def parts(self) -> Iterator[Rows]:
        """All rows in `position` order, a file group at a time."""
        return read_parts(self.pipeline, self.refresh)

    def epoch(
        self, number: int, settings: Training, ranks: Ranks, first_step: int = 0
    ) -> Iterator[Batch]:
        """This rank's batches of an epoch, from a step on; what came before is not read."""
        size = settings.batch_size
        if first_step * size >= len(self):  # killed after its last step
            return
        parts = (
            (Resident.of(rows, ranks.device, all_count=self.held_back is None), order)
            for rows, order, _ in self._windows(number, settings, first_step * size)
        )
        yield from batches(parts, size, ranks)

    def _windows(self, number: int, settings: Training, first_row: int) -> Iterator[Filled]:
        """Those of an epoch; the reading goes on meanwhile, into the next one."""
        begun, self._on_its_way = self._on_its_way, None
        if begun and not first_row and begun[0] == (number, settings):
            windows = begun[1]
        else:
            del begun  # what was read ahead for nothing, and its threads
            epochs = range(number, max(number + 1, settings.epochs))
            windows = ahead(
                streamed_windows(
                    self.pipeline, self.refresh, settings, epochs, first_row, self.held_back
                ),
                "window",
            )
        for window in windows:
            yield window
            if window.last:
                break
        if number + 1 < settings.epochs:
            self._on_its_way = (number + 1, settings), windows

    def without(self, held_back: NDArray[np.bool_]) -> tuple[Sample, Rows]:
        """The sample with the rows at these positions (n,) held back, and these rows."""
        ends = np.cumsum(self.refresh.group_sizes)
        chosen = [
            rows.map(lambda column, here=here: column[here])  # type: ignore[misc]
            for rows, here in zip(self.parts(), np.split(held_back, ends[:-1]), strict=True)
        ]
        return Streamed(self.pipeline, self.refresh, held_back), Rows.joined(chosen)


def open_sample(pipeline: Pipeline, refresh: Refresh, ranks: Ranks) -> Sample:
    """The sample, in memory if it fits there or the settings say so."""
    settings = pipeline.training
    needed, free = memory_needed(pipeline, refresh.drawn), _free_memory(ranks)
    keep = settings.keep == "memory" or (settings.keep == "auto" and needed <= MEMORY_SHARE * free)
    if keep:
        return Kept(read_packed(pipeline, refresh), refresh.group_sizes)
    log.info(
        "%d rows of %.1f GB in memory are streamed instead, %.1f GB are free",
        refresh.drawn,
        needed / 1e9,
        free / 1e9,
    )
    return Streamed(pipeline, refresh)


def read_packed(pipeline: Pipeline, refresh: Refresh) -> Packed:
    """All rows of a refresh."""
    if not refresh.file_groups:
        return Packed.of(read_sampled(pipeline, refresh))
    features = model_inputs(pipeline)
    whole = Packed.room(refresh.drawn, features)

    def fill(group: FileGroup, columns: Columns) -> int:
        whole.part(group.start, group.start + group.rows).fill(features, columns)
        return group.rows

    with step("reading the sample", refresh.drawn) as read:
        groups = ((group, partial(fill, group)) for group in refresh.file_groups)
        for rows in read_file_groups(pipeline, refresh, groups):
            read.add(rows)
    return whole


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
