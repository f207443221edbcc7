"""Training losses by task, a loss a row, and their weighted mean."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from schemas.pipeline import Task

RowLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def binary(output: Tensor, label: Tensor, offset: Tensor) -> Tensor:
    """Cross-entropy (n,) of logits (n, 1). The offset log pi(y=1)/pi(y=0) undoes the selection of
    the rows; it is added here and nowhere else, so what serves is calibrated."""
    return F.binary_cross_entropy_with_logits(output[:, 0] + offset, label, reduction="none")


def multiclass(output: Tensor, label: Tensor, offset: Tensor) -> Tensor:
    """Cross-entropy (n,) of logits (n, classes); there are no offsets for classes."""
    return F.cross_entropy(output, label.long(), reduction="none")


def regression(output: Tensor, label: Tensor, offset: Tensor) -> Tensor:
    """Squared error (n,) of values (n, 1)."""
    return F.mse_loss(output[:, 0], label, reduction="none")


LOSSES: dict[Task, RowLoss] = {
    "binary": binary,
    "multiclass": multiclass,
    "regression": regression,
}


def weighted_mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Sum of weight x loss over the sum of weights; 0 for a batch that is padding only."""
    return (weight * loss).sum() / weight.sum().clamp_min(1e-12)
