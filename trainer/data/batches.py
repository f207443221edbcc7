"""Rows as batches of tensors on the device: one rank's share of each, in the epoch's order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.epoch import Share, shares
from trainer.data.packed import Packed
from trainer.processes.ranks import Ranks
from trainer.processes.threads import ahead

COPIED_BYTES = 1 << 22  # at a time


class Batch(NamedTuple):
    """One rank's share of a batch; m rows, padding included."""

    inputs: tuple[Tensor, ...]  # what the model takes, each (m, ...)
    label: Tensor  # (m,)
    offset: Tensor  # (m,)
    weight: Tensor  # (m,), 0 for padding and rows held back
    rows: int  # of the whole batch, all ranks together; neither padding nor those held back


class Copied(NamedTuple):
    """The rows of several batches, close together."""

    layout: Packed
    words: Tensor  # (m, w)
    shares: Sequence[Share]  # of one rank, one behind the other in `words`
    counts: Sequence[int]  # of each batch, all ranks together: rows that are not held back

    def batches(self) -> Iterator[Batch]:
        """A batch each: views."""
        sizes = [len(share.rows) for share in self.shares]
        columns = self.layout.targets.tensor(self.words).unbind(1)[:3]
        targets = [column.split(sizes) for column in columns]
        fields = [field.tensor(self.words).split(sizes) for field in self.layout.inputs]
        inputs = zip(*fields, strict=True)
        for share, own, label, weight, offset, count in zip(
            self.shares, inputs, *targets, self.counts, strict=True
        ):
            if share.padding:
                weight = weight * torch.from_numpy(share.real).to(self.words.device)
            yield Batch(own, label, offset, weight, count)


@dataclass(frozen=True)
class Resident:
    """Rows on the device."""

    rows: Packed
    words: Tensor  # those of `rows`
    # (n,), close together: those of a batch lie all over the rows. None: no row is held back
    counted: NDArray[np.bool_] | None

    @staticmethod
    def of(rows: Packed, device: torch.device, *, all_count: bool = False) -> "Resident":
        """The rows on the device; a GPU's copy runs beside what it computes meanwhile."""
        words = torch.from_numpy(rows.words)
        if device.type != "cpu":
            words = words.pin_memory().to(device, non_blocking=True)
        return Resident(rows, words, None if all_count else rows.counted)

    def copied(self, order: NDArray[np.int64], batch_size: int, ranks: Ranks) -> Iterator[Copied]:
        """This rank's shares of the batches of rows in this order (places in `rows`), as many
        together as are still in the cache when they are used: one by one, what is done around each
        copy would cost as much as the copy."""
        if len(order) == 0:
            return
        plan = list(shares(order, batch_size, ranks.rank, ranks.world))
        counts = self._counts(order, batch_size)
        together = max(1, COPIED_BYTES // max(1, len(plan[0].rows) * self.rows.words.strides[0]))
        on_cpu = self.words.device.type == "cpu"
        # One copy an epoch to a GPU; a copy a step would hold it up.
        places = torch.empty(0) if on_cpu else torch.from_numpy(_places(plan)).to(self.words.device)
        for start in range(0, len(plan), together):
            some = plan[start : start + together]
            if on_cpu:
                # NumPy's `take` copies rows faster than `index_select`.
                words = torch.from_numpy(np.take(self.rows.words, _places(some), axis=0))
            else:
                here, places = places.tensor_split([sum(len(share.rows) for share in some)])
                words = self.words.index_select(0, here)
            yield Copied(self.rows, words, some, counts[start : start + together])

    def _counts(self, order: NDArray[np.int64], batch_size: int) -> list[int]:
        """The rows that count of each batch of rows in this order."""
        starts = np.arange(0, len(order), batch_size)
        if self.counted is None:
            return np.diff(starts, append=len(order)).tolist()
        return np.add.reduceat(self.counted[order], starts, dtype=np.int64).tolist()


def batches(
    parts: Iterable[tuple[Resident, NDArray[np.int64]]], batch_size: int, ranks: Ranks
) -> Iterator[Batch]:
    """This rank's shares of the batches of rows in order, one part after the other; on a CPU the
    next ones are copied meanwhile. Each part but the last has whole batches."""
    copied = (copy for rows, order in parts for copy in rows.copied(order, batch_size, ranks))
    # What a GPU is told comes from one thread: another's calls would end the recording of a graph.
    for copy in ahead(copied, "rows") if ranks.device.type == "cpu" else copied:
        yield from copy.batches()


def _places(some: Sequence[Share]) -> NDArray[np.int64]:
    return np.concatenate([share.rows for share in some])
