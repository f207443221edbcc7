"""A challenger's answers beside the champion's on the same rows, overall and by segment."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
    """How both did in one segment."""

    segment: str
    level: str
    rows: int
    loss: Interval
    increase: Interval | None  # of the loss, over the champion's; None without a champion
    calibration_ratio: Interval | None  # None for a regression


@dataclass(frozen=True)
class Assessment:
    """What is known of a challenger on one set of rows, every number with its interval."""

    rows: int
    challenger: Named
    champion: Named  # empty without a champion
    increase: Named  # challenger - champion
    segments: Sequence[SegmentLine]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file: an interval is [value, low, high]."""
        return asdict(self)

    def metrics(self) -> dict[str, Metrics]:
        """Flat numbers of `challenger`, `champion` and `increase`: loss, loss_low, loss_high."""
        sides = {"challenger": self.challenger, "champion": self.champion}
        flat = {name: self._flat(side) for name, side in sides.items() if side}
        if self.increase:
            flat["increase"] = self._flat(self.increase)
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
    segments: Mapping[str, NDArray[Any]] | None = None,
    settings: Training | None = None,
    confidence: float = 0.95,
) -> Assessment:
    """Outputs (n,) or (n, classes) of one or two models on labels (n,).

    segments: the level (n,) of each row by segment key. Intervals have coverage `confidence`; those
    of the segments have it for all segments together (Bonferroni).
    """
    if len(label) == 0:
        return Assessment(0, {}, {}, {}, ())
    outputs = [challenger] if champion is None else [challenger, champion]
    parts = [parts_of(task, output, label, settings) for output in outputs]
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
            for line in cell.lines(task, len(parts), block.sum(axis=0)[None], spread, level)
        ]
    return Assessment(
        rows=len(label),
        challenger=values[0].named(confidence),
        champion=values[1].named(confidence) if champion is not None else {},
        increase=(values[0] - values[1]).named(confidence) if champion is not None else {},
        segments=lines,
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
        then the champion's loss."""
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
        self, task: Task, models: int, sums: Floats, spread: Floats, confidence: float
    ) -> list[SegmentLine]:
        """A line a level, from sums (1, k) and resampled sums (b, k) as `summed` lays them."""
        columns = _IN_SEGMENTS + models - 1
        exact, drawn = (s.reshape(len(s), columns, -1) for s in (sums, spread))

        def ratio(above: int, below: int, place: int, minus: int | None = None) -> Interval:
            values = [
                (s[:, above, place] - (0 if minus is None else s[:, minus, place]))
                / s[:, below, place]
                for s in (exact, drawn)
            ]
            return interval(float(values[0][0]), values[1], confidence)

        return [
            SegmentLine(
                segment=self.key,
                level=name,
                rows=int(exact[0, 0, place]),
                loss=ratio(1, 0, place),
                increase=ratio(1, 0, place, minus=_IN_SEGMENTS) if models > 1 else None,
                calibration_ratio=None if task == "regression" else ratio(2, 3, place),
            )
            for place, name in enumerate(self.names)
        ]
