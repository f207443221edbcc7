"""The last step of a fit: the intercept at which the training rows meet their own totals.

Steps on batches end near the least loss, not at it, and what is left shows most in the intercept:
on windows of flights the predicted total of the drawn rows was off by 1.2 % (one standard
deviation), and that of all candidates by 1.7 %. With everything else held, the least loss over all
rows has weighted residuals that sum to zero; calibrated weights then carry that over to the
candidates (`docs/training.md` has the figures).
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from schemas.pipeline import Task
from schemas.sections.training import Training
from trainer.data.sample import Sample
from trainer.fitting.loss import row_loss, weighted_mean

AT_ONCE = 1 << 13  # rows


def settle_intercept(model: nn.Module, sample: Sample, task: Task, settings: Training) -> None:
    """Move `model.intercept` to the least weighted loss over the sample, offsets included.

    Left alone: a sample that lacks a class (the least loss would be at infinity), and the absolute
    loss, whose intercept many values share.
    """
    if task == "regression" and settings.loss == "absolute":
        return
    intercept = model.get_buffer("intercept")
    output, label, weight, offset = (
        torch.cat(column) for column in zip(*_answers(model, sample, intercept.device), strict=True)
    )
    if task != "regression":
        classes = max(2, output.shape[1])
        met = torch.zeros(classes, dtype=torch.float64).index_add_(0, label.long(), weight)
        if not bool((met > 0).all()):
            return
    loss = row_loss(task, settings)
    shift = torch.zeros(output.shape[1], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [shift], max_iter=100, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def step() -> Tensor:
        search.zero_grad()
        value = weighted_mean(loss(output + shift, label, offset), weight)
        value.backward()
        return value

    search.step(step)
    intercept.add_(shift.detach().to(intercept))


def _answers(model: nn.Module, sample: Sample, device: torch.device) -> Iterator[list[Tensor]]:
    """Outputs (m, outputs) of the model as it serves, labels, weights and offsets (m,)."""
    with torch.inference_mode():
        for rows in sample.parts():
            targets = np.stack([rows.label, rows.weight, rows.offset], axis=1).astype(np.float64)
            columns = (*rows.inputs, targets)
            for *inputs, known in zip(
                *(torch.from_numpy(column).split(AT_ONCE) for column in columns), strict=True
            ):
                output, _ = model(*(part.to(device) for part in inputs))
                yield [output.double().cpu(), *known.unbind(1)]
