"""Rows as batches of tensors on the device: one rank's share of each, in the epoch's order."""

from collections.abc import Iterator, Sequence
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

COPIED_BYTES = 1 << 22  # at a time: still in the cache when they are used


class Batch(NamedTuple):
    """One rank's share of a batch; m rows, padding included."""

    inputs: tuple[Tensor, ...]  # what the model takes, each (m, ...)
    label: Tensor  # (m,)
    offset: Tensor  # (m,)
    weight: Tensor  # (m,), 0 for padding and rows held back
    rows: int  # of the whole batch, all ranks together; neither padding nor those held back


@dataclass(frozen=True)
class Resident:
    """Rows on the device."""

    rows: Packed
    words: Tensor  # those of `rows`
    counted: NDArray[np.bool_]  # (n,), close together: those of a batch lie all over the rows

    @staticmethod
    def of(rows: Packed, device: torch.device) -> "Resident":
        """The rows on the device; a GPU's copy runs beside what it computes meanwhile."""
        words = torch.from_numpy(rows.words)
        if device.type != "cpu":
            words = words.pin_memory().to(device, non_blocking=True)
        return Resident(rows, words, rows.counted)

    def batches(self, order: NDArray[np.int64], batch_size: int, ranks: Ranks) -> Iterator[Batch]:
        """This rank's shares of the batches of rows in this order (places in `rows`)."""
        if len(order) == 0:
            return
        plan = list(shares(order, batch_size, ranks.rank, ranks.world))
        counts = iter(_counts(self.counted[order], batch_size))
        for words, some in self._taken(plan):
            yield from self._cut(words, some, counts)

    def _taken(self, plan: Sequence[Share]) -> Iterator[tuple[Tensor, Sequence[Share]]]:
        """The words of the rows of several shares together: one by one, what is done around each
        copy would cost as much as the copy."""
        together = max(1, COPIED_BYTES // max(1, len(plan[0].rows) * self.rows.words.strides[0]))
        parts = [plan[start : start + together] for start in range(0, len(plan), together)]
        if self.words.device.type == "cpu":
            # NumPy's `take` copies rows faster than `index_select`.
            copies = (np.take(self.rows.words, _places(some), axis=0) for some in parts)
            yield from zip(map(torch.from_numpy, ahead(copies, "rows")), parts, strict=True)
        else:
            # One copy an epoch to the device; a copy a step would hold a GPU up.
            places = torch.from_numpy(_places(plan)).to(self.words.device)
            for some in parts:
                here, places = places.tensor_split([sum(len(share.rows) for share in some)])
                yield self.words.index_select(0, here), some

    def _cut(self, words: Tensor, some: Sequence[Share], counts: Iterator[int]) -> Iterator[Batch]:
        """Words (m, w) of the rows of several shares as a batch each."""
        sizes = [len(share.rows) for share in some]
        columns = self.rows.targets.tensor(words).unbind(1)[:3]
        targets = [column.split(sizes) for column in columns]
        inputs = zip(*(field.tensor(words).split(sizes) for field in self.rows.inputs), strict=True)
        for share, own, label, weight, offset in zip(some, inputs, *targets, strict=True):
            if not share.real.all():
                weight = weight * torch.from_numpy(share.real).to(words.device)
            yield Batch(own, label, offset, weight, next(counts))


def _counts(counted: NDArray[np.bool_], batch_size: int) -> list[int]:
    """The rows that count of each batch, of rows in order."""
    starts = np.arange(0, len(counted), batch_size)
    return np.add.reduceat(counted, starts, dtype=np.int64).tolist()


def _places(some: Sequence[Share]) -> NDArray[np.int64]:
    return np.concatenate([share.rows for share in some])
