"""The settings of an arm: the same grid for every arm, on days before those that are reported."""

import time
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from benchmarks.study.arms import Arm
from benchmarks.study.loop import Places, Settings, closed_loop, first_model
from benchmarks.study.stream import Stream

BATCHES = (16, 64)
RATES = (0.0003, 0.001, 0.003, 0.01)
WINDOWS = (1, 4)  # times the days between refreshes
SEEDS = (100, 101)  # none of those that are reported


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


def grid(stream: Stream, arm: Arm) -> Iterator[Settings]:
    """What is tried. All rows once has no window to draw from."""
    windows = (1,) if arm.every else WINDOWS
    for batch, rate, window in product(BATCHES, RATES, windows):
        yield Settings(batch, rate, window * stream.step)


def tune(stream: Stream, places: Places, arm: Arm, amount: float) -> tuple[Settings, list[Tried]]:
    """The setting with the least loss over the tuning days and seeds, and all that were tried."""
    tried: list[Tried] = []
    mean: dict[Settings, float] = {}
    first = {seed: first_model(stream, places, stream.tuning, seed) for seed in SEEDS}
    for settings in grid(stream, arm):
        for seed in SEEDS:
            began = time.perf_counter()
            found = closed_loop(
                stream, places, arm, amount, settings, first[seed], stream.tuning, seed
            )
            readings = [refresh.answers for refresh in found]
            loss = float(np.average([r.loss for r in readings], weights=[r.rows for r in readings]))
            line = (stream.name, arm.name, amount, *settings, seed, loss)
            tried.append(Tried(*line, time.perf_counter() - began, ""))
        mean[settings] = float(np.mean([one.loss for one in tried[-len(SEEDS) :]]))
    best = min(mean, key=mean.__getitem__)
    return best, [
        one._replace(chosen="yes")
        if (one.batch_size, one.learning_rate, one.window_days) == best
        else one
        for one in tried
    ]
