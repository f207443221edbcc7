"""A challenger's answers beside those of champion and anchor on the same rows, overall and by
segment."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.pipeline import Task
from schemas.sections.training import Training
from trainer.promotion.evaluate import Metrics, Parts, parts_of
from trainer.promotion.intervals import (
    Floats,
    Interval,
    Places,
    groups,
    interval,
    resampled,
    summed,
)

LEVELS = 50  # of one segment key: the largest are compared
_IN_SEGMENTS = 4  # columns of `Parts`: rows, loss, and with classes what was predicted and observed

Named = Mapping[str, Interval]


@dataclass(frozen=True)
class SegmentLine:
    """How the models did in one segment."""

    segment: str
    level: str
    rows: int  # whatever they weigh
    loss: Interval
    increase: Interval | None  # of the loss, over the champion's; None without a champion
    calibration_ratio: Interval | None  # None for a regression
    anchor_increase: Interval | None = None  # the same over the anchor's


@dataclass(frozen=True)
class Assessment:
    """What is known of a challenger on one set of rows, every number with its interval."""

    rows: int
    challenger: Named
    champion: Named  # empty without a champion
    increase: Named  # challenger - champion
    segments: Sequence[SegmentLine]
    anchor: Named = field(default_factory=dict)  # empty without an anchor
    anchor_increase: Named = field(default_factory=dict)  # challenger - anchor

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file: an interval is [value, low, high]."""
        return asdict(self)

    def metrics(self) -> dict[str, Metrics]:
        """Flat numbers of `challenger`, `champion`, `increase`, ...: loss, loss_low, loss_high."""
        sides = {
            "challenger": self.challenger,
            "champion": self.champion,
            "increase": self.increase,
            "anchor": self.anchor,
            "anchor_increase": self.anchor_increase,
        }
        flat = {name: self._flat(side) for name, side in sides.items() if side}
        return flat or {"challenger": {"rows": float(self.rows)}}

    def _flat(self, side: Named) -> Metrics:
        flat = {"rows": float(self.rows)} | {name: value.value for name, value in side.items()}
        for name, (_, low, high) in side.items():
            ends = {f"{name}_low": low, f"{name}_high": high}
            flat |= {name: end for name, end in ends.items() if not math.isnan(end)}
        return flat


def assess(
    task: Task,
    challenger: NDArray[Any],
    champion: NDArray[Any] | None,
    label: NDArray[Any],
    *,
    weight: NDArray[Any] | None = None,
    anchor: NDArray[Any] | None = None,
    segments: Mapping[str, NDArray[Any]] | None = None,
    settings: Training | None = None,
    confidence: float = 0.95,
) -> Assessment:
    """Outputs (n,) or (n, classes) of one to three models on labels (n,) of rows that weigh so much
    (n,), above 0; 1 where nothing is given.

    segments: the level (n,) of each row by segment key. Intervals have coverage `confidence`; those
    of the segments have it for all segments together (Bonferroni).
    """
    if len(label) == 0:
        return Assessment(0, {}, {}, {}, ())
    others = {"champion": champion, "anchor": anchor}
    names = [name for name, output in others.items() if output is not None]
    outputs = [challenger, *(output for output in others.values() if output is not None)]
    parts = [parts_of(task, output, label, settings, weight) for output in outputs]
    cells = [_Cells.of(key, levels) for key, levels in (segments or {}).items()]
    group = groups(len(label))
    blocks = [summed(part.columns, group) for part in parts]
    blocks += [cell.summed(parts, group) for cell in cells]
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    spreads = np.split(resampled(np.hstack(blocks)), ends, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = [
            _Values(part.metrics(block.sum(axis=0)[None]), part.metrics(spread))
            for part, block, spread in zip(parts, blocks, spreads, strict=False)
        ]
        level = 1 - (1 - confidence) / max(1, sum(len(cell.names) for cell in cells))
        lines = [
            line
            for cell, block, spread in zip(
                cells, blocks[len(parts) :], spreads[len(parts) :], strict=True
            )
            for line in cell.lines(task, names, block.sum(axis=0)[None], spread, level)
        ]
    own, found = values[0], dict(zip(names, values[1:], strict=True))
    of = {name: one.named(confidence) for name, one in found.items()}
    over = {name: (own - one).named(confidence) for name, one in found.items()}
    return Assessment(
        rows=len(label),
        challenger=own.named(confidence),
        champion=of.get("champion", {}),
        increase=over.get("champion", {}),
        segments=lines,
        anchor=of.get("anchor", {}),
        anchor_increase=over.get("anchor", {}),
    )


@dataclass(frozen=True)
class _Values:
    """Metrics by name: their values (1,), and their resampled values (b,)."""

    point: Mapping[str, Floats]
    spread: Mapping[str, Floats]

    def __sub__(self, other: "_Values") -> "_Values":
        return _Values(
            {name: value - other.point[name] for name, value in self.point.items()},
            {name: value - other.spread[name] for name, value in self.spread.items()},
        )

    def named(self, confidence: float) -> dict[str, Interval]:
        """Every defined metric; a loss may well not be a number, which is for the gate to see."""
        return {
            name: interval(float(value[0]), self.spread[name], confidence)
            for name, value in self.point.items()
            if name == "loss" or not math.isnan(value[0])
        }


@dataclass(frozen=True)
class _Cells:
    """The levels of one segment key."""

    key: str
    names: list[str]
    place: Places  # (n,), of each row's level in `names`; len(names) where it is none of them

    @staticmethod
    def of(key: str, levels: NDArray[Any]) -> "_Cells":
        names, place, count = np.unique(levels, return_inverse=True, return_counts=True)
        kept = np.sort(np.argsort(-count, kind="stable")[:LEVELS])
        number = np.full(len(names), len(kept))
        number[kept] = np.arange(len(kept))
        return _Cells(key, [str(name) for name in names[kept]], number[place])

    def summed(self, parts: Sequence[Parts], group: Places) -> Floats:
        """Sums by group and level (groups, columns * (levels + 1)): the challenger's first columns,
        then the loss of each other model."""
        wanted = [
            *parts[0].columns[:, :_IN_SEGMENTS].T,
            *(part.columns[:, 1] for part in parts[1:]),
        ]
        width = len(self.names) + 1
        cell = group * width + self.place
        count = (int(group.max()) + 1) * width
        sums = [np.bincount(cell, weights=column, minlength=count) for column in wanted]
        return np.hstack([column.reshape(-1, width) for column in sums])

    def lines(
        self, task: Task, others: Sequence[str], sums: Floats, spread: Floats, confidence: float
    ) -> list[SegmentLine]:
        """A line a level, from sums (1, k) and resampled sums (b, k) as `summed` lays them.

        others: which models stand beside the challenger, in the order of their columns.
        """
        columns = _IN_SEGMENTS + len(others)
        exact, drawn = (s.reshape(len(s), columns, -1) for s in (sums, spread))
        counts = np.bincount(self.place, minlength=len(self.names))

        def ratio(above: int, below: int, place: int, minus: int | None = None) -> Interval:
            values = [
                (s[:, above, place] - (0 if minus is None else s[:, minus, place]))
                / s[:, below, place]
                for s in (exact, drawn)
            ]
            return interval(float(values[0][0]), values[1], confidence)

        def over(name: str, place: int) -> Interval | None:
            if name not in others:
                return None
            return ratio(1, 0, place, minus=_IN_SEGMENTS + others.index(name))

        return [
            SegmentLine(
                segment=self.key,
                level=name,
                rows=int(counts[place]),
                loss=ratio(1, 0, place),
                increase=over("champion", place),
                calibration_ratio=None if task == "regression" else ratio(2, 3, place),
                anchor_increase=over("anchor", place),
            )
            for place, name in enumerate(self.names)
        ]
