"""Rows as batches of tensors on the device: one rank's share of each, in the epoch's order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.epoch import shares
from trainer.ranks import Ranks
from trainer.reader import Rows


class Batch(NamedTuple):
    """One rank's share of a batch; m rows, padding included."""

    inputs: tuple[Tensor, ...]  # what the model takes, each (m, ...)
    label: Tensor  # (m,)
    offset: Tensor  # (m,)
    weight: Tensor  # (m,), 0 for padding
    total: Tensor  # (), sum of the weights of the whole batch, all ranks together


@dataclass(frozen=True)
class Resident:
    """Rows as tensors on the device."""

    rows: Rows
    inputs: tuple[Tensor, ...]
    label: Tensor
    weight: Tensor
    offset: Tensor

    @staticmethod
    def of(rows: Rows, device: torch.device) -> "Resident":
        """The rows on the device; a GPU's copy runs beside what it computes meanwhile."""

        def moved(part: NDArray[np.generic]) -> Tensor:
            tensor = torch.from_numpy(part)
            if device.type == "cpu":
                return tensor
            return tensor.pin_memory().to(device, non_blocking=True)

        inputs = tuple(map(moved, rows.inputs))
        return Resident(rows, inputs, moved(rows.label), moved(rows.weight), moved(rows.offset))

    def batches(self, order: NDArray[np.int64], batch_size: int, ranks: Ranks) -> Iterator[Batch]:
        """This rank's shares of the batches of rows in this order (places in `rows`)."""
        if len(order) == 0:
            return
        plan = list(shares(order, batch_size, ranks.rank, ranks.world))
        # One copy an epoch to the device; a copy a step would hold a GPU up.
        widths = [len(share.rows) for share in plan]
        device = self.label.device
        places = torch.from_numpy(np.concatenate([share.rows for share in plan])).to(device)
        real = torch.from_numpy(np.concatenate([share.real for share in plan])).to(device)
        totals = self._totals(self.rows.weight[order], batch_size)
        for here, kept, total in zip(places.split(widths), real.split(widths), totals, strict=True):
            yield Batch(
                inputs=tuple(part.index_select(0, here) for part in self.inputs),
                label=self.label.index_select(0, here),
                offset=self.offset.index_select(0, here),
                weight=self.weight.index_select(0, here) * kept,
                total=total,
            )

    def in_order(self, batch_size: int, ranks: Ranks) -> Iterator[Batch]:
        """This rank's shares of the batches of all rows as they lie; alone, without copying."""
        if ranks.world > 1:
            yield from self.batches(np.arange(len(self.rows)), batch_size, ranks)
            return
        columns = (*self.inputs, self.label, self.offset, self.weight)
        totals = self._totals(self.rows.weight, batch_size)
        for *inputs, label, offset, weight, total in zip(
            *(column.split(batch_size) for column in columns), totals, strict=True
        ):
            yield Batch(tuple(inputs), label, offset, weight, total)

    def _totals(self, weight: NDArray[np.float32], batch_size: int) -> Tensor:
        """Sum of the weights of each batch, of weights in order."""
        starts = np.arange(0, len(weight), batch_size)
        sums = np.add.reduceat(weight.astype(np.float64), starts)
        return torch.from_numpy(sums.astype(np.float32)).to(self.label.device)
