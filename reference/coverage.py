"""How often intervals hold the truth: whole populations are known, drawn from again and again."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from spark_jobs.estimation.regression import fitted, mean_of
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.designs.design import Block, T
from spark_jobs.selection.hashing import hash_ids

FLOOR = 0.2  # of the budget, spent uniformly


class Population(NamedTuple):
    """Rows of which all is known."""

    value: Array  # (N,) what is estimated: known of the drawn rows
    known: Array  # (N,) of all rows: the auxiliary
    size: Array  # (N,) what probabilities are proportional to


def even(rows: int) -> Population:
    """Nothing skewed: a value that half follows its auxiliary; equal probabilities."""
    z = _normal(rows, 1)
    return Population(z[0] + z[1], z[0], np.ones(rows))


def losses(rows: int) -> Population:
    """The loss of a challenger beside the champion's, drawn by the champion's residual norm."""
    z = _normal(rows, 2)
    logit, other = 1.5 * z[0] - 2, 1.5 * z[0] - 2 + 0.3 * z[1]
    label = np.random.default_rng(3).random(rows) < 1 / (1 + np.exp(-logit))
    loss = [np.logaddexp(0, one) - label * one for one in (logit, other)]
    return Population(loss[1], loss[0], np.abs(1 / (1 + np.exp(-logit)) - label))


def heavy(rows: int) -> Population:
    """Lognormal with sigma 1.4, of which the auxiliary explains half; drawn by the auxiliary."""
    z = _normal(rows, 4)
    return Population(np.exp(z[0] + z[1]), np.exp(z[0]), np.exp(z[0]))


def rare(rows: int) -> Population:
    """Nothing in 97 rows of 100, else lognormal with sigma 1; the auxiliary hints at which."""
    z = _normal(rows, 5)
    chance = 0.02 * np.exp(z[0])
    happens = np.random.default_rng(6).random(rows) < chance
    return Population(happens * np.exp(z[1]), chance, chance)


POPULATIONS: dict[str, Callable[[int], Population]] = {
    "even": even,
    "losses": losses,
    "heavy": heavy,
    "rare": rare,
}


def _normal(rows: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(2, rows))


def probabilities(size: Array, k: int) -> Array:
    """min(1, c s) with a floor, summing to k: c by bisection."""
    size = (1 - FLOOR) * size / size.mean() + FLOOR
    low, high = 0.0, k / size.min()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(1, middle * size).sum() < k else (low, middle)
    return np.minimum(1, high * size)


class Coverage(NamedTuple):
    """Of many intervals."""

    held: float  # the share that holds the truth
    below: float  # the share that ends below the truth
    above: float  # the share that begins above it
    width: float  # their mean width
    simple: float  # the mean width of as many rows drawn with equal chances, and no auxiliary
    deviation: float  # of the estimates; 3.92 of it is the width of the best interval


def coverage(population: Population, k: int, design: str, draws: int) -> Coverage:
    """Intervals of 95 % for the mean, over so many draws of k rows, seeds from 1 on."""
    rows = len(population.value)
    pi = probabilities(population.size, k)
    constant = np.ptp(pi) == 0
    x = np.column_stack([np.ones(rows), *([] if constant else [pi]), population.known])
    truth, middle = population.value.mean(), x.mean(axis=0)
    seen = np.empty((draws, 4))
    for seed in range(1, draws + 1):
        drawn = drawn_rows(population, pi, design, seed)
        found = mean_of(population.value[drawn], fitted(x[drawn], pi[drawn], middle, rows), 0.95)
        seen[seed - 1] = found.value, found.low, found.high, found.simple_random_error
    value, low, high, simple = seen.T
    return Coverage(
        float(((low <= truth) & (truth <= high)).mean()),
        float((high < truth).mean()),
        float((low > truth).mean()),
        float((high - low).mean()),
        2 * 1.96 * float(simple.mean()),
        float(value.std()),
    )


def drawn_rows(population: Population, pi: Array, design: str, seed: int) -> Array:
    """Which rows (k,) a design of the engine draws, all of them in one block."""
    rows = len(pi)
    hashes = hash_ids(pa.array(np.arange(rows)), seed)
    order = np.argsort(hashes)
    block = Block(
        number=0,
        seed=seed,
        hash=hashes[order],
        probability=pi[order],
        size=population.size[order],
        stratum=np.zeros(rows, np.int64),
        loss=population.known[order],
        label=np.zeros(rows),
        residual=population.size[order, None],
        segments=np.zeros((rows, 0), np.int32),
        levels=(),
        budgets=np.array([round(pi.sum())]),
    )
    state = DESIGNS[design].prepare(_OneBlock(block), block.budgets, seed).of(0)
    return order[DESIGNS[design].draw(block, state)]


class _OneBlock(NamedTuple):
    """Passes over a single block."""

    block: Block

    def each(self, kernel: Callable[[Block], T]) -> dict[int, T]:
        return {0: kernel(self.block)}

    def total(self, kernel: Callable[[Block], dict[str, Array]]) -> dict[str, Array]:
        return kernel(self.block)
