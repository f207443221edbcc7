"""The settings of an arm: the same search for every arm, on days before those that are reported.

A grid first, then what lies around the best of what was tried, until nothing around it is left: no
arm ends at an edge that was set beforehand.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import NamedTuple, TypeVar

import numpy as np

from benchmarks.study.arms import Arm
from benchmarks.study.loop import Places, Refresh, Settings, closed_loop, first_model
from benchmarks.study.stream import Stream
from schemas.errors import DataQualityError

BATCHES = (4, 16, 64, 256)
RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
WINDOWS = (1, 4)  # times the days between refreshes
FIRST_BATCHES, FIRST_RATES = BATCHES[1:3], RATES[1:5]  # the grid
SEEDS = (100, 101)  # none of those that are reported

Number = TypeVar("Number", int, float)


class Tried(NamedTuple):
    """One setting, one seed, and the mean loss of the periods after; a line of tuning.csv."""

    data: str
    arm: str
    amount: float
    batch_size: int
    learning_rate: float
    window_days: int
    seed: int
    loss: float
    seconds: float
    chosen: str


def grid(stream: Stream, arm: Arm) -> list[Settings]:
    """What is tried first."""
    return _settings(stream, arm, FIRST_BATCHES, FIRST_RATES)


def around(stream: Stream, arm: Arm, best: Settings) -> list[Settings]:
    """The settings whose batch and rate are the best's or the next to it, of either window."""
    batches = _next_to(best.batch_size, BATCHES)
    return _settings(stream, arm, batches, _next_to(best.learning_rate, RATES))


def _settings(
    stream: Stream, arm: Arm, batches: Sequence[int], rates: Sequence[float]
) -> list[Settings]:
    """All combinations. All rows once has no window to draw from."""
    windows = (1,) if arm.every else WINDOWS
    return [
        Settings(batch, rate, window * stream.step)
        for batch, rate, window in product(batches, rates, windows)
    ]


def _next_to(value: Number, among: Sequence[Number]) -> Sequence[Number]:
    place = among.index(value)
    return among[max(0, place - 1) : place + 2]


def tune(stream: Stream, places: Places, arm: Arm, amount: float) -> tuple[Settings, list[Tried]]:
    """The setting with the least loss over the tuning days and seeds, and all that were tried."""
    first = {seed: first_model(stream, places, stream.tuning, seed) for seed in SEEDS}
    tried: list[Tried] = []

    def mean_loss(settings: Settings) -> float:
        for seed in SEEDS:
            began = time.perf_counter()
            loop = closed_loop(
                stream, places, arm, amount, settings, first[seed], stream.tuning, seed
            )
            line = (stream.name, arm.name, amount, *settings, seed, _loss(loop))
            tried.append(Tried(*line, time.perf_counter() - began, ""))
        return float(np.mean([one.loss for one in tried[-len(SEEDS) :]]))

    best = search(grid(stream, arm), lambda settings: around(stream, arm, settings), mean_loss)
    return best, [
        one._replace(chosen="yes")
        if (one.batch_size, one.learning_rate, one.window_days) == best
        else one
        for one in tried
    ]


def _loss(loop: Iterable[Refresh]) -> float:
    """Mean over the rows of all periods; infinite where a fit diverged."""
    try:
        readings = [refresh.answers for refresh in loop]
    except DataQualityError:  # a loss that is not finite: a rate far too great
        return math.inf
    return float(np.average([r.loss for r in readings], weights=[r.rows for r in readings]))


def search(
    first: Sequence[Settings],
    around: Callable[[Settings], Sequence[Settings]],
    loss: Callable[[Settings], float],
) -> Settings:
    """The setting with the least loss once all around it have been tried too. A loss that is no
    number counts as the greatest."""
    losses: dict[Settings, float] = {}
    todo = list(first)
    while todo:
        for settings in todo:
            found = loss(settings)
            losses[settings] = found if found == found else math.inf
        best = min(losses, key=losses.__getitem__)
        todo = [settings for settings in around(best) if settings not in losses]
    return best
