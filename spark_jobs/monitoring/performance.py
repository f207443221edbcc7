"""The rows of `performance`: put together from what Spark summed up, and what of them is news.

Many rows as there are levels, so they are plain values here. A row says how a day stood at a cut,
and is written where no earlier cut says the same: a day whose labels come late gets one more at
each cut that has brought some, and a run that is repeated finds all of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from math import isclose
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from pyarrow.dataset import field

from schemas.side_tables import performance
from schemas.stored import stored
from spark_jobs.monitoring import moved
from spark_jobs.monitoring.levels import ALL, before
from spark_jobs.selection.arrays import Array

Row = Mapping[str, Any]
Key = tuple[date, str, str, str]

# Sums of one set of numbers in another order differ by less.
_SAME = 1e-6


def key_of(row: Row) -> Key:
    """What a row is about, at whatever cut."""
    return row["event_date"], row["model_version"], row["segment"], row["level"]


def put_together(
    levels: pa.Table,
    sketches: pa.Table,
    covered: pa.Table,
    start: date,
    cut: datetime,
    keys: Sequence[str],
) -> list[dict[str, Any]]:
    """The rows from day `start` on, as `performance` has them, by their keys.

    levels: `levels.LEVEL_ROWS`, with the reference; sketches and covered as `monitoring.served`
    sums them; keys: the segment keys of the pipeline, in its order.
    """
    counts = {(row["event_date"], row["segment"], row["level"]): row for row in covered.to_pylist()}
    found = []
    for row in levels.to_pylist():
        if row["event_date"] < start:
            continue
        asked = counts.get((row["event_date"], row["segment"], row["level"]), {})
        row |= {"cut": cut, "segment_drift": None, "sketch_drift": None}
        row |= {name: asked.get(name, 0) for name in ("instances", "recorded")}
        if row["segment"] == ALL:
            row["segment_drift"] = _segment_drift(levels, row, keys)
            row["sketch_drift"] = _sketch_drift(sketches, row)
        found.append(row)
    return sorted(found, key=key_of)


def _segment_drift(levels: pa.Table, row: Row, keys: Sequence[str]) -> list[float] | None:
    """The index of each key; None where one of them is not known, as where records are few."""
    found = [_key_drift(levels.filter(field("segment") == key), row) for key in keys]
    known = [index for index in found if index is not None]
    return known if known and len(known) == len(keys) else None


def _key_drift(levels: pa.Table, row: Row) -> float | None:
    days = np.array(levels["event_date"].to_numpy(), "datetime64[D]")
    names, place = np.unique(np.array(levels["level"].to_pylist(), str), return_inverse=True)
    records = levels["records"].to_numpy()

    def counted(mask: Array) -> Array:
        return np.bincount(place[mask], records[mask], names.size)

    versions = np.array(levels["model_version"].to_pylist(), object)
    now = (days == np.datetime64(row["event_date"])) & (versions == row["model_version"])
    return moved.segments(counted(before(days, row["event_date"])), counted(now))


def _sketch_drift(sketches: pa.Table, row: Row) -> list[float] | None:
    own = sketches.filter(field("model_version") == row["model_version"])
    if not own.num_rows:
        return None
    days = np.array(own["event_date"].to_numpy(), "datetime64[D]")
    place = own["place"].to_numpy()
    sums = np.stack([own[name].to_numpy().astype(float) for name in ("count", "sum", "squares")])

    def added(mask: Array) -> Array:
        width = int(place.max()) + 1
        return np.stack([np.bincount(place[mask], each[mask], width) for each in sums])

    now = days == np.datetime64(row["event_date"])
    return moved.sketch(added(before(days, row["event_date"])), added(now))


def read_performance(path: str, start: date | None = None, end: date | None = None) -> list[Row]:
    """The rows of the table at `path`, of event days from `start` to `end`; cuts in UTC. None
    where there is no such table."""
    if not Snapshot.is_deltatable(path):
        return []
    rows = stored(Snapshot(path), performance().arrow_schema)
    if rows is None:
        return []
    read = rows.to_table(
        filter=(field("event_date") >= (start or date.min))
        & (field("event_date") <= (end or date.max))
    )
    return [row | {"cut": row["cut"].astimezone(UTC)} for row in read.to_pylist()]


def as_of(rows: Iterable[Row], cut: datetime | None = None) -> dict[Key, Row]:
    """The newest row of each key whose cut is no later than `cut`."""
    newest: dict[Key, Row] = {}
    for row in rows:
        key = key_of(row)
        if (cut is None or row["cut"] <= cut) and (
            key not in newest or newest[key]["cut"] < row["cut"]
        ):
            newest[key] = row
    return newest


def news(rows: Sequence[Row], known: Mapping[Key, Row]) -> list[Row]:
    """The rows that say something else than what is known of their key, as of their cut; none of a
    key that has a row of this very cut."""
    found = []
    for row in rows:
        old = known.get(key_of(row))
        if old is None or (old["cut"] != row["cut"] and not _says_the_same(old, row)):
            found.append(row)
    return found


def _says_the_same(old: Row, new: Row) -> bool:
    return all(_equal(old[name], value) for name, value in new.items() if name != "cut")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=_SAME, abs_tol=_SAME)
    return bool(one == other)
