"""The crossed bootstrap of the study: days in blocks, and seeds, drawn again with replacement.

An arm's loss depends on the days that it is judged on and on the seeds of its draws and shuffles.
Both are resampled, independently of each other, and a resample has every drawn day with every drawn
seed (the pigeonhole bootstrap of Owen, 2007, Annals of Applied Statistics 1, 386-411). Days follow
each other, so they are drawn in blocks of `block_length` days, the first after the last (Politis
and Romano's circular block bootstrap, 1992). All arms of a data set have the same resamples: a
difference is one of pairs. Data sets are resampled independently of each other.

`benchmarks/study/estimate.py` makes intervals and p-values of the resamples.
"""

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 10_000
BLOCK = 3  # days of a block, where there are days for three blocks
SEED = 20210414  # any constant: the same results give the same page


class Draws(NamedTuple):
    """How often each day and each seed is in each resample."""

    days: Floats  # (resamples, days)
    seeds: Floats  # (resamples, seeds)


def block_length(days: int) -> int:
    """Days of a block: 3; 2 of six to eight days; 1 of fewer, so that there are three blocks."""
    return max(1, min(BLOCK, days // 3))


def draw_days(random: np.random.Generator, days: int, resamples: int) -> NDArray[np.int64]:
    """The days (resamples, days) in each resample, by place: blocks one after the other, the last
    of them cut so that there are as many days as there were."""
    length = block_length(days)
    starts = random.integers(0, days, (resamples, -(-days // length)))
    blocks = (starts[:, :, None] + np.arange(length)) % days
    return blocks.reshape(resamples, -1)[:, :days]


def draws(data: str, seeds: int, days: int, resamples: int = RESAMPLES) -> Draws:
    """The resamples of a data set of so many seeds and days: a function of these and its name."""
    key = np.array([SEED, zlib.crc32(data.encode())], np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    drawn_days = draw_days(random, days, resamples)
    drawn_seeds = random.integers(0, seeds, (resamples, seeds))
    return Draws(_times(drawn_days, days), _times(drawn_seeds, seeds))


def _times(places: NDArray[np.int64], count: int) -> Floats:
    """How often each of `count` places occurs in each row of (resamples, n)."""
    resamples = len(places)
    apart = places + count * np.arange(resamples)[:, None]
    times = np.bincount(apart.ravel(), minlength=resamples * count)
    return times.reshape(resamples, count).astype(np.float64)


def means(values: Floats, rows: Floats, drawn: Draws) -> Floats:
    """Mean (resamples, arms) of values (arms, seeds, days) in each resample.

    Of a seed: over its days, each weighing its rows (days,); then over the seeds.
    """
    sums = np.tensordot(values * rows, drawn.days, axes=(2, 1))  # (arms, seeds, resamples)
    by_seed = sums / (drawn.days @ rows)
    of_arms = np.einsum("asb,bs->ba", by_seed, drawn.seeds)
    return of_arms / drawn.seeds.sum(axis=1, keepdims=True)
