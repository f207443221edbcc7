"""The training rows of a refresh as a fit takes them: kept in memory, or read anew every epoch.

Both give the same batches in the same order (`epoch.py`), so which of them is used is a
matter of memory alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from trainer.data.batches import Batch, Resident
from trainer.data.epoch import sample_order
from trainer.data.packed import Packed
from trainer.data.passes import Columns
from trainer.data.reader import Rows, read_file_groups, read_parts, read_sampled
from trainer.data.refresh import FileGroup, Refresh
from trainer.data.stream import streamed_windows
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
        yield from self._resident[ranks.device].batches(rest, settings.batch_size, ranks)

    def without(self, held_back: NDArray[np.bool_]) -> tuple[Sample, Rows]:
        """The sample with the rows at these positions (n,) held back, and these rows."""
        rows = self.rows.take(np.flatnonzero(held_back)).rows()
        return Kept(self.rows.without(held_back), self.group_sizes), rows


def in_memory(rows: Rows) -> Kept:
    """Rows that are there already, as one group."""
    return Kept(Packed.of(rows), [len(rows)])


@dataclass(frozen=True)
class Streamed:
    """Rows on disk, of which a window at a time is in memory, and the next one on its way."""

    pipeline: Pipeline
    refresh: Refresh
    held_back: NDArray[np.bool_] | None = None  # (n,), by position

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
        read = streamed_windows(
            self.pipeline, self.refresh, settings, number, first_step * size, self.held_back
        )
        for rows, order in ahead(read, "window"):
            yield from Resident.of(rows, ranks.device).batches(order, size, ranks)

    def without(self, held_back: NDArray[np.bool_]) -> tuple[Sample, Rows]:
        """The sample with the rows at these positions (n,) held back, and these rows."""
        ends = np.cumsum(self.refresh.group_sizes)
        chosen = [
            rows.map(lambda column, here=here: column[here])  # type: ignore[misc]
            for rows, here in zip(self.parts(), np.split(held_back, ends[:-1]), strict=True)
        ]
        return replace(self, held_back=held_back), Rows.joined(chosen)


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
        for rows in read_file_groups(pipeline, refresh, refresh.file_groups, fill):
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
