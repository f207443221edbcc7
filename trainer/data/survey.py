"""What is known of a sample before the first step: weighted moments, and the labels it has.

Parts are summed one after the other, so a sample kept in memory and the same one read as a stream
give the same numbers, bit by bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.pipeline import Task
from trainer.data.reader import Rows

LABELS_KEPT = 1000  # of a task with classes; more than this are not classes


@dataclass
class Moments:
    """Weighted mean and spread of columns, summed part by part (Chan, Golub, LeVeque 1979)."""

    weight: float = 0.0
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # about the mean

    def add(self, values: NDArray[Any], weight: NDArray[np.float32]) -> None:
        """Rows (n, m) with their weights (n,); columns of rows without weight count nothing."""
        whole, share = values.astype(np.float64), weight.astype(np.float64)
        total = float(share.sum())
        if not self.mean.size:
            self.mean, self.squares = np.zeros(whole.shape[1]), np.zeros(whole.shape[1])
        if not total > 0:
            return
        mean = share @ whole / total
        squares = share @ (whole - mean) ** 2
        both = self.weight + total
        gap = mean - self.mean
        self.squares += squares + gap**2 * self.weight * total / both
        self.mean += gap * total / both
        self.weight = both

    @property
    def scale(self) -> NDArray[np.float64]:
        """Standard deviations; 1 for a constant."""
        deviation = np.sqrt(self.squares / max(self.weight, 1e-300))
        constant = deviation <= 1e-6 * np.maximum(1.0, np.abs(self.mean))
        return np.where(constant, 1.0, deviation)


@dataclass
class Survey:
    """A sample at a glance."""

    rows: int = 0
    weight: float = 0.0
    numbers: Moments = field(default_factory=Moments)
    tensors: list[Moments] = field(default_factory=list)  # of all elements of each together
    label: Moments = field(default_factory=Moments)
    labels: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def mean_weight(self) -> float:
        """Mean weight of the rows; 0 without any."""
        return self.weight / max(self.rows, 1)


def survey_of(parts: Iterable[Rows], task: Task) -> Survey:
    """The survey of a sample's parts; labels are listed for tasks with classes."""
    survey = Survey()
    for rows in parts:
        _add_weight(survey, rows)
        survey.numbers.add(rows.numbers, rows.weight)
        survey.label.add(rows.label[:, None], rows.weight)
        survey.tensors = survey.tensors or [Moments() for _ in rows.inputs[2:]]
        for moments, tensor in zip(survey.tensors, rows.inputs[2:], strict=True):
            _add_elements(moments, tensor, rows.weight)
        if task != "regression":
            survey.labels = np.union1d(survey.labels, rows.label)[:LABELS_KEPT]
    return survey


def mean_weight_of(parts: Iterable[Rows]) -> float:
    """The survey's mean weight alone, to the same bits."""
    survey = Survey()
    for rows in parts:
        _add_weight(survey, rows)
    return survey.mean_weight


def _add_weight(survey: Survey, rows: Rows) -> None:
    survey.rows += len(rows)
    survey.weight += float(rows.weight.sum(dtype=np.float64))


def _add_elements(
    moments: Moments, tensor: NDArray[np.float32], weight: NDArray[np.float32]
) -> None:
    """All elements of each row count with the row's weight."""
    for start in range(0, len(tensor), 1 << 12):  # doubles of a large image set would not fit
        here = slice(start, start + (1 << 12))
        flat = tensor[here].reshape(-1, 1)
        moments.add(flat, np.repeat(weight[here], flat.size // max(len(weight[here]), 1)))
