"""A small population cut into blocks, as the engine cuts it, for designs without the engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa

from spark_jobs.selection.blocks import block_of
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.designs.design import Block
from spark_jobs.selection.hashing import hash_ids
from spark_jobs.selection.tree import add_sums

SKEWED = [0.05] * 6 + [0.1] * 4 + [0.2] * 3 + [0.3] + [0.4] * 3 + [0.7] * 2 + [0.9] * 2
PROBABILITIES = {
    "uniform": [0.3] * 20,  # k = 6
    "skewed": SKEWED,  # 21 rows, k = 6
    "capped": [1.0] * 3 + SKEWED,  # k = 9
}


@dataclass(frozen=True)
class Population:
    """n rows with all that a design may look at; their ids are 0 to n - 1."""

    probability: np.ndarray
    size: np.ndarray
    loss: np.ndarray
    label: np.ndarray
    residual: np.ndarray
    stratum: np.ndarray
    segments: np.ndarray
    levels: tuple[int, ...]

    @property
    def budgets(self) -> np.ndarray:
        """k by stratum: the sums of the probabilities, which are whole numbers."""
        return np.rint(np.bincount(self.stratum, self.probability)).astype(np.int64)

    def blocks(self, seed: int, bits: int) -> tuple[np.ndarray, list[Block]]:
        """The rows in hash order, and 2^bits blocks of them (fewer where some have no row)."""
        hashes = hash_ids(pa.array(range(self.probability.size)), seed)
        order = np.argsort(hashes)
        block = block_of(hashes[order], bits)
        found = []
        for number in np.unique(block):
            rows = order[block == number]
            arrays = [
                getattr(self, name)[rows]
                for name in ("probability", "size", "stratum", "loss", "label", "residual")
            ]
            levels = self.segments[rows], self.levels
            found.append(Block(int(number), seed, hashes[rows], *arrays, *levels, self.budgets))
        return order, found


def population(
    probability: Sequence[float],
    *,
    levels: tuple[int, ...] = (),
    segments: Any = None,
    stratum: Any = None,
    random_seed: int = 3,
) -> Population:
    """Rows with random losses, labels and residuals; segments at random where none are given."""
    random = np.random.default_rng(random_seed)
    pi = np.array(probability, float)
    n = pi.size
    if segments is None:
        segments = [random.integers(0, count, n) for count in levels]
    label = (random.random(n) < 0.4).astype(float)
    return Population(
        probability=pi,
        size=pi.copy(),
        loss=random.lognormal(size=n),
        label=label,
        residual=(random.random(n) - label)[:, None],
        stratum=np.zeros(n, np.int64) if stratum is None else np.asarray(stratum),
        segments=np.array(segments, np.int32).reshape(len(levels), n).T,
        levels=levels,
    )


class Here:
    """Passes over blocks that are at hand."""

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks

    def each(self, kernel: Callable[[Block], Any]) -> dict[int, Any]:
        return {block.number: kernel(block) for block in self.blocks}

    def total(self, kernel: Callable[[Block], dict[str, Any]]) -> dict[str, Any]:
        return reduce(add_sums, self.each(kernel).values())


def drawn_by(
    design: str, rows: Population, seed: int, bits: int = 0, budgets: np.ndarray | None = None
) -> np.ndarray:
    """Mask of the drawn rows, in the order of the population."""
    order, blocks = rows.blocks(seed, bits)
    budgets = rows.budgets if budgets is None else budgets
    blocks = [block._replace(budgets=budgets) for block in blocks]
    states = DESIGNS[design].prepare(Here(blocks), budgets, seed)
    parts = [DESIGNS[design].draw(block, states.of(block.number)) for block in blocks]
    mask = np.zeros(rows.probability.size, bool)
    mask[order] = np.concatenate(parts)
    return mask


def with_loss(rows: Population, loss: np.ndarray) -> Population:
    """The population with other losses."""
    return replace(rows, loss=loss)


def misses(rows: Population, design: str, draws: int, bits: int) -> tuple[float, list[str]]:
    """Frequencies of `draws` draws against pi: chi2 per degree of freedom, and who is far off.

    Far off: more than 4.5 binomial standard errors; or, where pi is 1, ever left out.
    """
    counts = sum(drawn_by(design, rows, seed, bits).astype(int) for seed in range(1, draws + 1))
    pi = rows.probability
    error = np.sqrt(np.maximum(draws * pi * (1 - pi), 1e-12))
    z = (counts - draws * pi) / error
    far = [
        f"row {i}: pi {pi[i]:.3f}, drawn {counts[i] / draws:.4f}, z {z[i]:+.1f}"
        for i in np.flatnonzero(np.abs(z) > 4.5)
    ]
    return float((z[pi < 1] ** 2).mean()), far
