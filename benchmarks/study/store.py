"""The study's raw results: two CSV files, rewritten whole and at once, a cell after the other."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.study.loop import Refresh
from benchmarks.study.results import COLUMNS, KEY
from benchmarks.study.tuning import Tried

RESULTS, TUNING = "results.csv", "tuning.csv"
NUMBERS = {"amount", "seed"}  # sorted as such

Line = dict[str, str]


class Cell(NamedTuple):
    """A data set, an arm and an amount: tuned once, then run with every seed."""

    data: str
    arm: str
    amount: float


def lines_of(cell: Cell, seed: int, refreshes: Iterable[Refresh]) -> list[Line]:
    """A line of results.csv for each refresh."""
    return [
        {
            "data": cell.data,
            "arm": cell.arm,
            "amount": f"{cell.amount:g}",
            "seed": str(seed),
            "day": one.day.isoformat(),
            "rows": str(one.answers.rows),
            "loss": _number(one.answers.loss, 6),
            "auc": _number(one.answers.auc, 5),
            "observed": _number(one.answers.observed, 5),
            "predicted": _number(one.answers.predicted, 5),
            "worst_segment": _number(one.answers.worst_segment, 5),
            "forward_passes": str(one.forward_passes),
            "backward_passes": str(one.backward_passes),
            "record_bytes": str(one.record_bytes),
            "feature_bytes": str(one.feature_bytes),
            "select_seconds": _number(one.select_seconds, 4),
            "fit_seconds": _number(one.fit_seconds, 4),
        }
        for one in refreshes
    ]


def _number(value: float, digits: int) -> str:
    return "" if value != value else f"{value:.{digits}g}"


def read(path: Path) -> list[Line]:
    """The lines of a file; none where it is not there yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cells(lines: Iterable[Line]) -> set[Cell]:
    """What is there already."""
    return {Cell(line["data"], line["arm"], float(line["amount"])) for line in lines}


def add(folder: Path, lines: Sequence[Line], tried: Sequence[Tried]) -> None:
    """A cell's lines into both files: all of them or, when killed, none of results.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    if tried:
        settings = [
            {
                name: f"{value:.6g}" if isinstance(value, float) else str(value)
                for name, value in one._asdict().items()
            }
            for one in tried
        ]
        known = read(folder / TUNING)
        cell = (settings[0]["data"], settings[0]["arm"], settings[0]["amount"])
        others = [one for one in known if (one["data"], one["arm"], one["amount"]) != cell]
        _write(folder / TUNING, Tried._fields, [*others, *settings])
    _write(folder / RESULTS, COLUMNS, [*read(folder / RESULTS), *lines])


def _write(path: Path, columns: Sequence[str], lines: Sequence[Line]) -> None:
    first = [name for name in KEY if name in columns]
    ordered = sorted(
        lines,
        key=lambda line: [(float(line[n]), "") if n in NUMBERS else (0.0, line[n]) for n in first],
    )
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, columns, lineterminator="\n")
        out.writeheader()
        out.writerows(ordered)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
