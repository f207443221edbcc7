"""The crossed bootstrap of the study: days in blocks, and seeds, drawn again with replacement.

An arm's loss depends on the days that it is judged on and on the seeds of its draws and shuffles.
Both are resampled, independently of each other, and a resample has every drawn day with every drawn
seed (the pigeonhole bootstrap of Owen, 2007, "The pigeonhole bootstrap", Annals of Applied
Statistics 1, 386-411). Days follow each other, so they are drawn in blocks of `block_length` days,
the first after the last (Politis and Romano's circular block bootstrap, 1992). All arms of a data
set have the same resamples: a difference is one of pairs. Data sets are resampled independently.

Intervals are percentiles, their ends rounded outwards to a resample.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.promotion.intervals import Interval

Floats = NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
BLOCK = 3  # days of a block, where there are days for three blocks
SEED = 20210414  # any constant: the same results give the same page


class Draws(NamedTuple):
    """How often each day and each seed is in each resample."""

    days: Floats  # (resamples, days)
    seeds: Floats  # (resamples, seeds)


class Estimate(NamedTuple):
    """A number, and what it is in each resample; NaN where it is not defined in one."""

    value: float
    spread: Floats  # (resamples,)


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


def estimates(values: Floats, rows: Floats, drawn: Draws) -> list[Estimate]:
    """The mean of each arm as `means` has it: once over all, and in each resample."""
    _, seeds, days = values.shape
    whole = means(values, rows, Draws(np.ones((1, days)), np.ones((1, seeds))))[0]
    spread = means(values, rows, drawn)
    return [Estimate(float(value), spread[:, arm]) for arm, value in enumerate(whole)]


def minus(one: Estimate, other: Estimate) -> Estimate:
    """The difference, resample by resample; both are of the same data set's draws."""
    return Estimate(one.value - other.value, one.spread - other.spread)


def over(part: Estimate, whole: Estimate) -> Estimate:
    """The ratio, resample by resample; NaN where `whole` is not above 0."""
    positive = whole.spread > 0
    spread = np.divide(
        part.spread, whole.spread, out=np.full(len(positive), np.nan), where=positive
    )
    return Estimate(part.value / whole.value if whole.value > 0 else float("nan"), spread)


def summed(parts: Sequence[Estimate]) -> Estimate:
    """The sum of estimates, those of different data sets paired at random by their order."""
    spread = np.sum([part.spread for part in parts], axis=0)
    return Estimate(sum(part.value for part in parts), spread)


def interval(estimate: Estimate) -> Interval:
    """The value between the percentiles that leave 2.5 % of the resamples out on either side.

    A resample where it is not defined counts as the worst at either end: it widens both.
    """
    tail = (1 - CONFIDENCE) / 2
    low = lower_bound(estimate, 1 - tail)
    undefined_last = np.where(np.isnan(estimate.spread), np.inf, estimate.spread)
    high = float(np.quantile(undefined_last, 1 - tail, method="higher"))
    return Interval(estimate.value, low, high)


def lower_bound(estimate: Estimate, confidence: float = CONFIDENCE) -> float:
    """What the value is at least, at a one-sided confidence; a resample where it is not defined
    counts as the least."""
    undefined_first = np.where(np.isnan(estimate.spread), -np.inf, estimate.spread)
    return float(np.quantile(undefined_first, 1 - confidence, method="lower"))


def p_value(difference: Estimate) -> float:
    """Two-sided p of no difference: twice the share of resamples on the rarer side of 0, one more
    on either side counted as if the data were a resample of their own, so that it is never 0."""
    least = min(int((difference.spread <= 0).sum()), int((difference.spread >= 0).sum()))
    return min(1.0, 2 * (1 + least) / (1 + len(difference.spread)))


def share_closed(uniform: Estimate, arm: Estimate, full: Estimate) -> Estimate | None:
    """The share of the gap from uniform to full, all rows once, that an arm closes.

    None where there is no gap: its own interval is not above 0.
    """
    return _share(minus(uniform, arm), minus(uniform, full))


def pooled_share(of_data: Sequence[tuple[Estimate, Estimate, Estimate]]) -> Estimate | None:
    """The share closed on data sets together, each a triple (uniform, arm, full).

    Sum of (uniform - arm) / uniform over that of (uniform - full) / uniform: so that the unit of a
    data set's loss plays no part. None where the summed gap's own interval is not above 0.
    """
    gains = [over(minus(uniform, arm), uniform) for uniform, arm, _ in of_data]
    gaps = [over(minus(uniform, full), uniform) for uniform, _, full in of_data]
    return _share(summed(gains), summed(gaps))


def _share(gain: Estimate, gap: Estimate) -> Estimate | None:
    return over(gain, gap) if interval(gap).low > 0 else None
