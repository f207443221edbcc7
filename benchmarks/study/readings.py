"""How a model answers for a period: loss, order, calibration, the worst segment."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from schemas.pipeline import Pipeline
from trainer.data.reader import Rows
from trainer.fitting.loss import row_loss
from trainer.models.export import predict

LEAST_SHARE = 0.05  # of the rows: a smaller segment's loss is mostly chance


class Answers(NamedTuple):
    """Read-outs of one period; NaN where the task has none."""

    rows: int
    loss: float
    auc: float
    observed: float
    predicted: float
    worst_segment: float


def judged(model: nn.Module, pipeline: Pipeline, rows: Rows, segment: NDArray[np.int64]) -> Answers:
    """The read-outs of the labelled rows. segment (n,): the code of the one that is watched."""
    output = predict(model, rows)
    label = torch.from_numpy(rows.label)
    zero = torch.zeros(len(rows))
    loss = row_loss(pipeline.task, pipeline.training)(torch.from_numpy(output).float(), label, zero)
    losses = loss.double().numpy()
    watched = rows.label.astype(np.int64) if pipeline.task == "multiclass" else segment
    total, count = np.bincount(watched, losses), np.bincount(watched)
    enough = count >= max(1, LEAST_SHARE * len(rows))
    worst = float((total[enough] / count[enough]).max()) if enough.any() else float("nan")
    auc = observed = predicted = float("nan")
    if pipeline.task == "binary":
        auc = _auc(output[:, 0], rows.label)
        observed = float(rows.label.mean())
        predicted = float((1 / (1 + np.exp(-output[:, 0]))).mean())
    return Answers(len(rows), float(losses.mean()), auc, observed, predicted, worst)


def _auc(score: NDArray[np.floating[Any]], label: NDArray[np.float32]) -> float:
    """Share of the pairs of a positive and a negative that are in order (Mann-Whitney)."""
    rank, positive = rankdata(score), label > 0.5
    pairs = positive.sum() * (~positive).sum()
    if not pairs:
        return float("nan")
    above = rank[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(above / pairs)
