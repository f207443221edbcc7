"""Challenger, champion and anchor over all rows of a frame, from their answers to the drawn ones:
what a gate asks of held-out rows, asked of all traffic."""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.all_traffic import Ends, SegmentOfTraffic
from spark_jobs.estimation.estimate import Known, Line, lines
from spark_jobs.estimation.frame import segment_column

CHALLENGER, CHAMPION, ANCHOR = "challenger", "champion", "anchor"
LEVELS = 50  # of one segment key: the largest are compared
_RATIO = "calibration_ratio"
# Of each model that the challenger is compared with, under what its increase stands.
_INCREASES = {CHAMPION: "increase", ANCHOR: "anchor_increase"}


def with_increases(known: Known) -> Known:
    """The frame with the challenger's increases over the others, as `increase`, ...: of one with
    `challenger_judged`, ... as `judging.challenged` adds them."""
    rows = known.table
    for of, name in _INCREASES.items():
        if f"{of}_judged" in rows.column_names:
            gap = pc.subtract(rows[f"{CHALLENGER}_judged"], rows[f"{of}_judged"])
            rows = rows.append_column(name, gap)
    return known._replace(table=rows)


def measured(known: Known, confidence: float) -> dict[str, dict[str, Ends]]:
    """loss and calibration_ratio of each model and the challenger's increase over the others, by
    the names that the gate has for them. known: `with_increases`."""
    names = known.table.column_names

    def one(value: str, over: str | None = None) -> Ends:
        (line,) = lines(known, value, None, confidence, over)
        return _ends(line)

    found = {}
    for of in (CHALLENGER, CHAMPION, ANCHOR):
        if f"{of}_judged" in names:
            found[of] = {"loss": one(f"{of}_judged")}
        if f"{of}_predicted" in names:
            found[of][_RATIO] = one(f"{of}_predicted", f"{of}_observed")
    for name in _INCREASES.values():
        if name in names:
            found[name] = {"loss": one(name)}
    return found


def by_segment(known: Known, keys: Sequence[str], confidence: float) -> list[SegmentOfTraffic]:
    """The same of the largest levels of each segment key. Intervals have coverage `confidence` for
    all of them together (Bonferroni)."""
    names = known.table.column_names
    largest = {key: _largest(known.table[segment_column(key)]) for key in keys}
    level = 1 - (1 - confidence) / max(1, sum(len(levels) for levels in largest.values()))
    values: dict[str, tuple[str, str | None]] = {"loss": (f"{CHALLENGER}_judged", None)}
    values |= {name: (name, None) for name in _INCREASES.values() if name in names}
    if f"{CHALLENGER}_predicted" in names:
        values[_RATIO] = (f"{CHALLENGER}_predicted", f"{CHALLENGER}_observed")
    found = []
    for key, levels in largest.items():
        with warnings.catch_warnings():  # a small segment bears few auxiliaries, each of them said
            warnings.simplefilter("ignore")
            of = {
                name: {
                    line.group: line
                    for line in lines(known, value, segment_column(key), level, over)
                }
                for name, (value, over) in values.items()
            }
        found += [_segment(key, one, of) for one in levels]
    return found


def _segment(key: str, level: str, of: dict[str, dict[Any, Line]]) -> SegmentOfTraffic:
    def one(name: str) -> Ends | None:
        return _ends(of[name][level]) if name in of else None

    loss = of["loss"][level]
    return SegmentOfTraffic(
        segment=key,
        level=level,
        drawn=loss.drawn,
        loss=_ends(loss),
        increase=one("increase"),
        anchor_increase=one("anchor_increase"),
        calibration_ratio=one(_RATIO),
    )


def _largest(levels: pa.ChunkedArray) -> list[str]:
    counts = Counter({row["values"]: row["counts"] for row in levels.value_counts().to_pylist()})
    return sorted(name for name, _ in counts.most_common(LEVELS) if name is not None)


def _ends(line: Line) -> Ends:
    if line.found is None:
        return math.nan, math.nan, math.nan
    return line.found.value, line.found.low, line.found.high
