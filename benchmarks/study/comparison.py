"""Every arm of a part of the study at one amount, against uniform and against all rows: numbers.

What the tables and plots show is here; they only write it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.study.estimate import (
    Estimate,
    Share,
    estimates,
    interval,
    minus,
    p_value,
    pooled_share,
    share_closed,
)
from benchmarks.study.holm import adjusted
from benchmarks.study.parts import ALL, FROZEN, PARTS, UNIFORM
from benchmarks.study.resample import draws
from benchmarks.study.results import LeftOut, Results, Runs
from trainer.promotion.intervals import Interval

LEVEL = 0.05  # of a table: the probability that it claims anything that is not so


class Cell(NamedTuple):
    """An arm on one data set."""

    loss: float
    difference: Interval  # of its loss to uniform's
    above_all: Interval  # of its loss to that of all rows
    share: Share | None  # of the gap from uniform to all that it closes; None: there is no gap
    p: float  # two-sided, of no difference to uniform
    adjusted: float  # the same, Holm's over the table

    @property
    def better(self) -> bool:
        """Whether it is below uniform after the correction."""
        return self.adjusted <= LEVEL and self.difference.value < 0

    @property
    def worse(self) -> bool:
        """Whether it is above uniform after the correction."""
        return self.adjusted <= LEVEL and self.difference.value > 0


@dataclass(frozen=True, eq=False)
class Comparison:
    """A table of the study: a part at an amount."""

    part: str
    amount: float
    runs: Mapping[str, Runs]  # by data set, in the order of PARTS
    arms: tuple[str, ...]  # uniform first, then by what they gain, all and frozen last
    cells: Mapping[tuple[str, str], Cell]  # by arm and data set; none where it did not run whole
    pooled: Mapping[str, Share | None]  # by arm that ran on every data set; None: there is no gap
    tests: int  # cells that the correction is over
    left_out: tuple[LeftOut, ...]

    @property
    def data(self) -> tuple[str, ...]:
        """The data sets that have results."""
        return tuple(self.runs)


def compare(results: Results, part: str, amount: float) -> Comparison | None:
    """The table of a part at an amount; None where no data set has whole runs there."""
    runs = {
        name: results.runs[name, amount] for name in PARTS[part] if (name, amount) in results.runs
    }
    if not runs:
        return None
    losses = {name: losses_of(one) for name, one in runs.items()}
    cells = _corrected({(arm, name): _cell(of, arm) for name, of in losses.items() for arm in of})
    arms = _order(cells)
    everywhere = [arm for arm in arms if all(arm in of for of in losses.values())]
    return Comparison(
        part,
        amount,
        runs,
        arms,
        cells,
        {arm: _pooled(losses.values(), arm) for arm in everywhere},
        sum(arm != UNIFORM for arm, _ in cells),
        tuple(one for one in results.left_out if one.data in PARTS[part] and one.amount == amount),
    )


def losses_of(runs: Runs) -> dict[str, Estimate]:
    """The mean loss of each arm, with the data set's resamples."""
    drawn = draws(runs.data, len(runs.seeds), len(runs.days))
    return dict(zip(runs.arms, estimates(runs.read_outs["loss"], runs.rows, drawn), strict=True))


def _cell(losses: Mapping[str, Estimate], arm: str) -> Cell:
    """An arm's cell before the correction."""
    own, uniform, full = losses[arm], losses[UNIFORM], losses[ALL]
    difference, share = minus(own, uniform), share_closed(uniform, own, full)
    p = p_value(difference)
    return Cell(
        own.value,
        interval(difference),
        interval(minus(own, full)),
        share,
        p,
        p,
    )


def _corrected(cells: Mapping[tuple[str, str], Cell]) -> dict[tuple[str, str], Cell]:
    """The cells with Holm's p over all of them but uniform's own."""
    tested = [place for place in cells if place[0] != UNIFORM]
    p = adjusted(np.array([cells[place].p for place in tested]))
    found = {
        place: cells[place]._replace(adjusted=float(own))
        for place, own in zip(tested, p, strict=True)
    }
    return {place: found.get(place, cell) for place, cell in cells.items()}


def _pooled(of_data: Iterable[Mapping[str, Estimate]], arm: str) -> Share | None:
    return pooled_share([(of[UNIFORM], of[arm], of[ALL]) for of in of_data])


def _order(cells: Mapping[tuple[str, str], Cell]) -> tuple[str, ...]:
    """Uniform, the others by their mean relative gain, the greatest first, then all and frozen."""
    gains: dict[str, list[float]] = {}
    for (arm, name), cell in cells.items():
        uniform = cells[UNIFORM, name].loss
        gains.setdefault(arm, []).append((uniform - cell.loss) / uniform)
    ends: Sequence[str] = (ALL, FROZEN)
    between = sorted(set(gains) - {UNIFORM, *ends}, key=lambda arm: (-np.mean(gains[arm]), arm))
    return (UNIFORM, *between, *(arm for arm in ends if arm in gains))
