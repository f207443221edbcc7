"""What a data set's closed loops show beside their losses: an arm's read-outs, as numbers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.study.estimate import estimates, interval, minus
from benchmarks.study.parts import UNIFORM
from benchmarks.study.resample import draws
from benchmarks.study.results import Runs
from trainer.promotion.intervals import Interval

Floats = NDArray[np.float64]


class ReadOut(NamedTuple):
    """An arm on one data set; sums are over the refreshes, and their mean over the seeds."""

    arm: str
    auc: Interval | None  # less uniform's; None where it is not defined
    calibration: float | None  # mean prediction / mean label, over all rows judged on
    worst_segment: Interval | None  # its loss, less uniform's
    spread: float | None  # standard deviation of the loss over the seeds; None of one seed
    forward_passes: float
    backward_passes: float
    record_bytes: float
    feature_bytes: float
    select_seconds: float
    fit_seconds: float


def read_outs_of(runs: Runs) -> list[ReadOut]:
    """One an arm, in the order of the runs."""
    auc, worst = _differences(runs, "auc"), _differences(runs, "worst_segment")
    predicted = _total(runs.read_outs["predicted"] * runs.rows)
    observed = _total(runs.read_outs["observed"] * runs.rows)
    calibration = predicted / observed
    by_seed = np.average(runs.read_outs["loss"], axis=2, weights=runs.rows)
    several = len(runs.seeds) > 1
    return [
        ReadOut(
            arm,
            auc[place],
            float(calibration[place]) if np.isfinite(calibration[place]) else None,
            worst[place],
            float(by_seed[place].std(ddof=1)) if several else None,
            *(float(_total(runs.read_outs[name])[place]) for name in ReadOut._fields[5:]),
        )
        for place, arm in enumerate(runs.arms)
    ]


def _total(values: Floats) -> Floats:
    """Sum over the days, mean over the seeds: (arms,) of (arms, seeds, days)."""
    return values.sum(axis=2).mean(axis=1)


def _differences(runs: Runs, name: str) -> list[Interval | None]:
    """Each arm's mean of a read-out less uniform's, over the days where all arms and seeds have it
    (a day of one class has no AUC)."""
    values = runs.read_outs[name]
    defined = ~np.isnan(values).any(axis=(0, 1))
    if not defined.any():
        return [None] * len(runs.arms)
    drawn = draws(runs.data, len(runs.seeds), int(defined.sum()))
    found = estimates(values[:, :, defined], runs.rows[defined], drawn)
    uniform = found[runs.arms.index(UNIFORM)]
    return [interval(minus(one, uniform)) for one in found]
