"""The order in which rows are dealt to batches, where each batch is a small systematic sample.

Rows sorted by what they add to the gradient's size and sign, weight x residual, are cut into strata
of as many rows as there are batches; each stratum gives every batch one row. So each batch has its
part of the small and the great, of the positive and the negative (Zhao and Zhang, "Accelerating
Minibatch Stochastic Gradient Descent using Stratified Sampling", arXiv:1405.3080, 2014).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from schemas.sections.training import Training
from trainer.data.batches import Batch, Resident, batches
from trainer.data.packed import Packed
from trainer.data.reader import Rows
from trainer.data.sample import Kept
from trainer.processes.ranks import Ranks


def dealt(key: NDArray[np.float64], batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The places (k,) in the order of an epoch: a function of (key, seed, epoch).

    What does not fill a batch is a small systematic sample too, and comes last.
    """
    random = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
    ordered = np.lexsort((random.random(len(key)), key))
    whole, rest = divmod(len(key), batch_size)
    last = np.zeros(len(key), np.bool_)
    last[((np.arange(rest) + random.random()) * len(key) / max(rest, 1)).astype(np.int64)] = True
    strata = ordered[~last].reshape(batch_size, whole)
    batches = random.permuted(strata, axis=1).T  # a row of every stratum, in its order
    within = [random.permuted(batches, axis=1).reshape(-1), random.permutation(ordered[last])]
    return np.concatenate(within)


class Dealt(Kept):
    """Rows in memory whose epochs are dealt by a key."""

    key: NDArray[np.float64]

    @staticmethod
    def of(rows: Rows, key: NDArray[np.float64]) -> "Dealt":
        """The rows with their keys (k,)."""
        kept = Dealt(Packed.of(rows), [len(rows)])
        kept.key = key
        return kept

    def epoch(
        self, number: int, settings: Training, ranks: Ranks, first_step: int = 0
    ) -> Iterator[Batch]:
        """The batches of an epoch."""
        order = dealt(self.key, settings.batch_size, settings.seed, number)
        rest = order[first_step * settings.batch_size :]
        rows = Resident.of(self.rows, ranks.device)
        yield from batches([(rows, rest)], settings.batch_size, ranks)
