"""Training losses by name, a loss a row, and their weighted mean."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.pipeline import Task
from schemas.sections.training import Training

RowLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def binary(output: Tensor, label: Tensor, offset: Tensor) -> Tensor:
    """Cross-entropy (n,) of logits (n, 1). The offset log pi(y=1)/pi(y=0) undoes the selection of
    the rows; it is added here and nowhere else, so what serves is calibrated."""
    return F.binary_cross_entropy_with_logits(output[:, 0] + offset, label, reduction="none")


def multiclass(output: Tensor, label: Tensor, offset: Tensor) -> Tensor:
    """Cross-entropy (n,) of logits (n, classes); there are no offsets for classes."""
    return F.cross_entropy(output, label.long(), reduction="none")


def squared(output: Tensor, label: Tensor, offset: Tensor) -> Tensor:
    """Squared error (n,) of values (n, 1): fits the mean."""
    return F.mse_loss(output[:, 0], label, reduction="none")


def absolute(output: Tensor, label: Tensor, offset: Tensor) -> Tensor:
    """Absolute error (n,) of values (n, 1): fits the median."""
    return F.l1_loss(output[:, 0], label, reduction="none")


def huber(output: Tensor, label: Tensor, offset: Tensor, *, delta: float) -> Tensor:
    """Half the squared error up to `delta`, in units of the label; linear beyond (n,)."""
    return F.huber_loss(output[:, 0], label, reduction="none", delta=delta)


REGRESSION: dict[str, Callable[..., Tensor]] = {
    "squared": squared,
    "absolute": absolute,
    "huber": huber,
}


def row_loss(task: Task, settings: Training) -> RowLoss:
    """The loss that a pipeline trains with."""
    if task == "regression":
        chosen = REGRESSION[settings.loss]
        return partial(chosen, delta=settings.huber_delta) if settings.loss == "huber" else chosen
    return binary if task == "binary" else multiclass


def weighted_mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Sum of weight x loss over the sum of the weights, of a set of rows that is whole; 0 where
    none weighs anything. A batch is none: see `divisor.py`."""
    return (weight * loss).sum() / torch.clamp_min(weight.sum(), 1e-12)
