"""What the weighted loss of a batch is divided by: its rows times the mean weight of the sample.

So the expected gradient of a batch is the gradient of the sample's weighted mean loss, and a pull
or a weight decay stands beside that loss, whatever the batch size. Divided by its own weights, a
batch would be a ratio of two random sums, whose mean is not the ratio of their means: a fit would
miss the weighted optimum, the farther the smaller its batches and the more uneven its weights.
"""

from typing import NamedTuple

import numpy as np

from schemas.errors import DataQualityError
from trainer.data.reader import Rows


class Divisor(NamedTuple):
    """The rows that a fit learns from; a row of weight 0 is one of them, one held back is not."""

    rows: int
    mean_weight: float

    @staticmethod
    def of(rows: int, mean_weight: float, held_back: Rows | None = None) -> "Divisor":
        """Of a sample's rows and their mean weight, less the rows that are held back of it.

        Raises DataQualityError where there is nothing to divide by.
        """
        weight = rows * mean_weight
        _require(weight, rows, "the sample", "select again")
        if held_back is None:
            return Divisor(rows, mean_weight)
        held = float(held_back.weight.sum(dtype=np.float64))
        left, remedy = rows - len(held_back), "leave training.patience out, or draw more rows"
        _require(held, len(held_back), "the rows held back by training.patience", remedy)
        _require(weight - held, left, "the rows not held back by training.patience", remedy)
        return Divisor(left, (weight - held) / left)

    def batch(self, rows: int) -> float:
        """That of a batch with so many of the rows, all ranks together; one of none has no loss."""
        return max(rows, 1) * self.mean_weight

    @property
    def epoch(self) -> float:
        """That of all rows."""
        return self.rows * self.mean_weight


def _require(weight: float, rows: int, which: str, remedy: str) -> None:
    if not 0 < weight < float("inf"):
        raise DataQualityError(
            f"weight: the weights of {which} ({rows:,} rows) sum to {weight:g}, and losses cannot"
            f" be divided by that. Remedy: {remedy}."
        )
