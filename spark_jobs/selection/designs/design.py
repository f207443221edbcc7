"""What a design is, and what it sees of a block."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from spark_jobs.selection.arrays import Array

T = TypeVar("T")


class Block(NamedTuple):
    """n candidates of one block in hash order, with their probabilities."""

    number: int  # of the block
    seed: int
    hash: Array  # (n,) uint64
    probability: Array  # (n,)
    size: Array  # (n,)
    stratum: Array  # (n,) int64, below the number of strata
    loss: Array  # (n,)
    label: Array  # (n,)
    residual: Array  # (n, m)
    segments: Array  # (n, S)
    levels: tuple[int, ...]  # (S,) number of levels of each segment key
    budgets: Array  # (H,) rows to be drawn of each stratum, over all blocks
    row_weight: Array | None = None  # (n,) of which loss, label and residual are multiples; None: 1

    def weighed(self, row_weight: Array) -> "Block":
        """The block of the weighted rows."""
        return self._replace(
            loss=row_weight * self.loss,
            label=row_weight * self.label,
            residual=row_weight[:, None] * self.residual,
            row_weight=row_weight,
        )

    @property
    def counts(self) -> Array:
        """What each row counts for in a total, (n,)."""
        return np.ones(self.loss.size) if self.row_weight is None else self.row_weight


class Passes(Protocol):
    """Runs a function on every block, with probabilities in place."""

    def each(self, kernel: Callable[[Block], T]) -> dict[int, T]:
        """One small result a block, by index."""

    def total(self, kernel: Callable[[Block], dict[str, Array]]) -> dict[str, Array]:
        """The results of all blocks, added up."""


@dataclass(frozen=True)
class States:
    """What a draw must know beyond its block: the same for all, or by block."""

    shared: Any = None
    by_block: dict[int, Any] = field(default_factory=dict)

    def of(self, index: int) -> Any:
        """The state of one block."""
        return self.by_block.get(index, self.shared)


@dataclass(frozen=True)
class Design:
    """A way to draw with given inclusion probabilities.

    prepare(passes, budgets (H,), seed): looks at all blocks before the draw. draw(block, state):
    the mask of the drawn rows, shape (n,).
    """

    prepare: Callable[[Passes, Array, int], States]
    draw: Callable[[Block, Any], Array]
    exact: bool  # inclusion frequencies equal pi
    fixed_size: bool
    strata: bool  # draws exactly the budget of each stratum
    nominal: bool = False  # sizes rank the rows; the probability on record is k / N


def nothing(passes: Passes, budgets: Array, seed: int) -> States:
    """Prepare for a draw that needs to know nothing."""
    return States()
