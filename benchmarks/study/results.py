"""The results of the study as arrays: reads and checks results.csv.

Only arms whose closed loops ran whole are compared: an arm that lacks a seed or a day of its data
set at its amount is left out and named, with what it lacks. What contradicts itself is an error.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import product
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.study.lines import Fields, fields
from benchmarks.study.parts import ALL, PARTS, UNIFORM
from schemas.errors import DataQualityError

Floats = NDArray[np.float64]

KEY = ("data", "arm", "amount", "seed", "day")
MAY_BE_EMPTY = ("auc", "observed", "predicted", "worst_segment")
READ_OUTS = (
    *("loss", *MAY_BE_EMPTY, "forward_passes", "backward_passes"),
    *("record_bytes", "feature_bytes", "select_seconds", "fit_seconds"),
)
COLUMNS = (
    *(*KEY, "rows", "loss", "auc", "observed", "predicted", "worst_segment"),
    *("forward_passes", "backward_passes", "record_bytes", "feature_bytes"),
    *("select_seconds", "fit_seconds"),
)
OF_EVERY_AMOUNT = (0.0, 1.0)  # arms of these amounts (frozen, all) stand beside those of any other

Moment = tuple[int, date]  # a seed and a day


class Line(NamedTuple):
    """A line of the file: one refresh of one closed loop."""

    number: int
    data: str
    arm: str
    amount: float
    seed: int
    day: date
    rows: int
    read_outs: dict[str, float]  # by READ_OUTS; NaN where empty

    @property
    def key(self) -> tuple[str, str, float, int, date]:
        """What one line alone may have."""
        return self.data, self.arm, self.amount, self.seed, self.day


@dataclass(frozen=True, eq=False)
class Runs:
    """The closed loops of a data set at an amount, whole ones alone."""

    data: str
    amount: float
    arms: tuple[str, ...]  # uniform and all among them
    seeds: tuple[int, ...]
    days: tuple[date, ...]  # of the refreshes
    rows: Floats  # (days,): rows that each is judged on
    read_outs: Mapping[str, Floats]  # by READ_OUTS: (arms, seeds, days)


class LeftOut(NamedTuple):
    """An arm that is not compared, and why."""

    data: str
    amount: float
    arm: str
    why: str

    def __str__(self) -> str:
        return f"{self.arm} on {self.data} at {self.amount:g}: {self.why}"


class Results(NamedTuple):
    """What is compared, by data set and amount, and what is not."""

    runs: dict[tuple[str, float], Runs]
    left_out: tuple[LeftOut, ...]


def read_results(path: Path) -> Results:
    """The results of a file.

    Raises NoDataError where there is no such file, DataQualityError with the line where it has
    other columns, a value that is none, a data set of no part, a line twice, or two counts of rows
    for a day.
    """
    lines = [_line(one) for one in fields(path, COLUMNS)]
    _require_agreement(path, lines)
    of_data: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        of_data[line.data].append(line)
    runs, left_out = {}, []
    for data in [name for names in PARTS.values() for name in names if name in of_data]:
        for found, without in _of_data(of_data[data]):
            left_out += without
            if found:
                runs[data, found.amount] = found
    return Results(runs, tuple(left_out))


def _line(of: Fields) -> Line:
    read_outs = {
        name: float("nan") if name in MAY_BE_EMPTY and not of.values[name] else of.read(name, float)
        for name in READ_OUTS
    }
    return Line(
        of.number,
        of.values["data"],
        of.values["arm"],
        of.read("amount", float),
        of.read("seed", int),
        of.read("day", date.fromisoformat),
        of.read("rows", int),
        read_outs,
    )


def _require_agreement(path: Path, lines: Iterable[Line]) -> None:
    """No refresh twice, and the same rows for all that are judged on a day."""
    seen: dict[tuple[str, str, float, int, date], int] = {}
    judged: dict[tuple[str, date], Line] = {}
    for line in lines:
        said = f"{path}, line {line.number}: {','.join(map(str, line.key))}"
        first = seen.setdefault(line.key, line.number)
        if first != line.number:
            raise DataQualityError(f"{said} is line {first} again. Remedy: delete one of them.")
        other = judged.setdefault((line.data, line.day), line)
        if other.rows != line.rows:
            raise DataQualityError(
                f"{said} has rows = {line.rows}, line {other.number} of the same day has"
                f" {other.rows}. Remedy: run both on the same stream."
            )


def _of_data(lines: Iterable[Line]) -> Iterator[tuple[Runs | None, list[LeftOut]]]:
    """The runs of one data set at each amount, and what is left out there."""
    loops: dict[float, dict[str, dict[Moment, Line]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        loops[line.amount][line.arm][line.seed, line.day] = line
    beside = {arm: loop for amount in OF_EVERY_AMOUNT for arm, loop in loops[amount].items()}
    for amount in sorted(set(loops) - set(OF_EVERY_AMOUNT)):
        yield _runs(amount, loops[amount], beside)


def _runs(
    amount: float,
    own: Mapping[str, Mapping[Moment, Line]],
    beside: Mapping[str, Mapping[Moment, Line]],
) -> tuple[Runs | None, list[LeftOut]]:
    """The whole loops at an amount: `own` ones say which seeds and days there are."""
    seeds = sorted({seed for loop in own.values() for seed, _ in loop})
    days = sorted({day for loop in own.values() for _, day in loop})
    data = next(line.data for loop in own.values() for line in loop.values())
    whole, left_out = {}, []
    for arm, loop in sorted({**beside, **own}.items()):
        why = _lacks(loop, list(product(seeds, days)))
        if why:
            left_out.append(LeftOut(data, amount, arm, why))
        else:
            whole[arm] = loop
    absent = [arm for arm in (UNIFORM, ALL) if arm not in whole]
    if absent:
        why = f"not compared, as {' and '.join(absent)} did not run whole"
        left_out += [LeftOut(data, amount, arm, why) for arm in whole]
        named = {one.arm for one in left_out}
        left_out += [LeftOut(data, amount, a, "has no line") for a in absent if a not in named]
        return None, left_out
    first = whole[UNIFORM]
    rows = np.array([first[seeds[0], day].rows for day in days], np.float64)
    shape = len(whole), len(seeds), len(days)
    moments = [(loop, moment) for loop in whole.values() for moment in product(seeds, days)]
    read_outs = {
        name: np.array([loop[moment].read_outs[name] for loop, moment in moments]).reshape(shape)
        for name in READ_OUTS
    }
    return Runs(data, amount, tuple(whole), tuple(seeds), tuple(days), rows, read_outs), left_out


def _lacks(loop: Mapping[Moment, Line], moments: list[Moment]) -> str:
    """What a loop lacks of the moments, in words; nothing where it is whole."""
    missing = [moment for moment in moments if moment not in loop]
    if missing:
        seed, day = missing[0]
        return f"lacks {len(missing)} of {len(moments)} refreshes, first seed {seed} on {day}"
    endless = [m for m in moments if not isfinite(loop[m].read_outs["loss"])]
    if endless:
        seed, day = endless[0]
        return f"its loss is not finite in {len(endless)} refreshes, first seed {seed} on {day}"
    return ""
