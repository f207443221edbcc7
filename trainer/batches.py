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
        starts = np.arange(0, len(order), batch_size)
        sums = np.add.reduceat(self.rows.weight[order].astype(np.float64), starts)
        totals = torch.from_numpy(sums.astype(np.float32)).to(device)
        for here, kept, total in zip(places.split(widths), real.split(widths), totals, strict=True):
            yield Batch(
                inputs=tuple(part[here] for part in self.inputs),
                label=self.label[here],
                offset=self.offset[here],
                weight=self.weight[here] * kept,
                total=total,
            )
