"""A share of the sample that a fit does not learn from, to stop by.

The rows are a hash of their position: the same on every rank, in a stream and after a resume. They
stay in their batches with weight zero, so the order of the others does not change. Their loss is
the training's, weights and offsets included: an estimate of the loss over all candidates.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from schemas.pipeline import Task
from schemas.sections.training import Training
from trainer.data.epoch import held_back
from trainer.data.reader import Rows
from trainer.data.sample import Sample
from trainer.fitting.loss import row_loss
from trainer.processes.ranks import Ranks

MOST = 1 << 18  # rows: enough for any comparison, and few enough to keep
AT_ONCE = 1 << 13


@dataclass(frozen=True)
class Validation:
    """The rows held back."""

    rows: Rows
    task: Task
    settings: Training

    def loss(self, model: nn.Module, ranks: Ranks) -> float:
        """The weighted mean loss of the model, the first rank's on every rank."""
        value = torch.zeros((), dtype=torch.float64, device=ranks.device)
        if ranks.first:
            value += self._own(model.eval(), ranks.device)
            model.train()
        return float(ranks.total(value))

    @torch.inference_mode()
    def _own(self, model: nn.Module, device: torch.device) -> torch.Tensor:
        of, total = row_loss(self.task, self.settings), torch.zeros((), dtype=torch.float64)
        columns = (*self.rows.inputs, self.rows.label, self.rows.offset, self.rows.weight)
        for parts in zip(*(torch.from_numpy(c).split(AT_ONCE) for c in columns), strict=True):
            *inputs, label, offset, weight = (part.to(device) for part in parts)
            loss = of(model(*inputs)[0].float(), label, offset)
            total += (loss.double() * weight).sum().cpu()
        return total.to(device) / float(self.rows.weight.sum(dtype=np.float64))


def split(sample: Sample, task: Task, settings: Training) -> tuple[Sample, Validation | None]:
    """The sample to learn from, and what is held back of it where the fit may stop early."""
    if settings.patience is None:
        return sample, None
    share = min(settings.validation, MOST / len(sample))
    kept, rows = sample.without(held_back(len(sample), share, settings.seed))
    return kept, Validation(rows, task, settings)
