"""Scores rows with a registered model: torch, NumPy and the schemas, nothing else.

The same few lines serve a Spark worker and a model server. Torch's threads are left as they are:
it honours OMP_NUM_THREADS itself, which Spark sets in its workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from inference.program import load_program
from schemas.bundle import PROGRAM, ModelCard, read_card
from schemas.errors import ConfigurationError
from schemas.inputs import stack_inputs

# Rows go through the program in blocks of exactly this many, the last one padded: matrix kernels
# differ by shape in the last bits, and a row's score must not depend on its neighbours.
BLOCK = 1024


class Scored(NamedTuple):
    """What one forward pass leaves behind."""

    prediction: NDArray[np.float64]
    """float64: logit or value (n,), or logits (n, classes) of a multiclass model."""
    sketch: NDArray[np.float32]
    """float32 (n, width): a fixed projection of the layer that the model's card names."""


@dataclass(frozen=True)
class Scorer:
    """A loaded model: its card and its program."""

    card: ModelCard
    program: torch.nn.Module

    def score(self, columns: Mapping[str, NDArray[Any]]) -> Scored:
        """Score n rows of encoded features: int32 codes (n,) of a category, float32 (n,) of a
        number, float32 (n, ...) of a tensor; no nulls.

        Raises ConfigurationError for a missing column or a program that fails, DataQualityError for
        an unknown code or a tensor of another size.
        """
        inputs = stack_inputs(self.card.features, columns)
        rows = len(inputs[0])
        outputs = np.empty((rows, self.card.outputs), np.float64)
        sketch = np.empty((rows, self.card.sketch_width), np.float32)
        for start in range(0, rows, BLOCK):
            here = slice(start, min(start + BLOCK, rows))
            output, projection = self._block([part[here] for part in inputs])
            outputs[here], sketch[here] = output, projection
        return Scored(outputs if self.card.task == "multiclass" else outputs[:, 0], sketch)

    def _block(
        self, inputs: Sequence[NDArray[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = len(inputs[0])
        padded = [np.pad(x, [(0, BLOCK - rows), *[(0, 0)] * (x.ndim - 1)]) for x in inputs]
        try:
            with torch.inference_mode():
                output, sketch = self.program(*map(torch.from_numpy, padded))
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            raise ConfigurationError(
                f"model of refresh {self.card.refresh_id}: its program failed on a block of rows:"
                f" {error}. Remedy: let an earlier version serve (`tenforward rollback`), and mend"
                f" model.name = {self.card.architecture!r} before it is trained again."
            ) from error
        return output.numpy()[:rows], sketch.numpy()[:rows]


def load_scorer(folder: str | Path) -> Scorer:
    """The scorer of a bundle's folder. ConfigurationError when it is not a whole bundle."""
    return Scorer(read_card(Path(folder)), load_program(Path(folder) / PROGRAM))
