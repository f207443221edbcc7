"""Rows as batches of tensors on the device: one rank's share of each, in the epoch's order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.epoch import shares
from trainer.packed import Packed
from trainer.ranks import Ranks


class Batch(NamedTuple):
    """One rank's share of a batch; m rows, padding included."""

    inputs: tuple[Tensor, ...]  # what the model takes, each (m, ...)
    label: Tensor  # (m,)
    offset: Tensor  # (m,)
    weight: Tensor  # (m,), 0 for padding
    total: Tensor  # (), sum of the weights of the whole batch, all ranks together


@dataclass(frozen=True)
class Resident:
    """Rows on the device."""

    rows: Packed
    words: Tensor  # those of `rows`
    weight: NDArray[np.float32]  # (n,), close together: those of a batch lie all over the rows

    @staticmethod
    def of(rows: Packed, device: torch.device) -> "Resident":
        """The rows on the device; a GPU's copy runs beside what it computes meanwhile."""
        words = torch.from_numpy(rows.words)
        if device.type != "cpu":
            words = words.pin_memory().to(device, non_blocking=True)
        return Resident(rows, words, np.ascontiguousarray(rows.weight))

    def batches(self, order: NDArray[np.int64], batch_size: int, ranks: Ranks) -> Iterator[Batch]:
        """This rank's shares of the batches of rows in this order (places in `rows`)."""
        if len(order) == 0:
            return
        plan = list(shares(order, batch_size, ranks.rank, ranks.world))
        totals = self._totals(self.weight[order], batch_size)
        if self.words.device.type == "cpu":
            # NumPy's `take` copies rows faster than `index_select`.
            taken = (torch.from_numpy(np.take(self.rows.words, s.rows, axis=0)) for s in plan)
        else:
            # One copy an epoch to the device; a copy a step would hold a GPU up.
            places = torch.from_numpy(np.concatenate([share.rows for share in plan]))
            here = places.to(self.words.device).split([len(share.rows) for share in plan])
            taken = (self.words.index_select(0, rows) for rows in here)
        for words, share, total in zip(taken, plan, totals, strict=True):
            yield self._batch(words, total, int(share.real.sum()))

    def in_order(self, batch_size: int, ranks: Ranks) -> Iterator[Batch]:
        """This rank's shares of the batches of all rows as they lie; alone, without copying."""
        if ranks.world > 1:
            yield from self.batches(np.arange(len(self.rows)), batch_size, ranks)
            return
        totals = self._totals(self.weight, batch_size)
        for words, total in zip(self.words.split(batch_size), totals, strict=True):
            yield self._batch(words, total, len(words))

    def _batch(self, words: Tensor, total: Tensor, real: int) -> Batch:
        """Words (m, w), of which all but the first `real` rows are padding, as a batch."""
        label, weight, offset = self.rows.targets.tensor(words).unbind(1)
        if real < len(words):
            weight = weight * (torch.arange(len(words), device=words.device) < real)
        inputs = tuple(field.tensor(words) for field in self.rows.inputs)
        return Batch(inputs, label, offset, weight, total)

    def _totals(self, weight: NDArray[np.float32], batch_size: int) -> Tensor:
        """Sum of the weights of each batch, of weights in order."""
        starts = np.arange(0, len(weight), batch_size)
        sums = np.add.reduceat(weight.astype(np.float64), starts)
        return torch.from_numpy(sums.astype(np.float32)).to(self.words.device)
