"""The as-of join of a few instances: the twin of `spark_jobs/features/point_in_time.py`.

A view row is usable from the later of its timestamp and its created timestamp; of the usable ones
the newest by (timestamp, created, values) counts, unless it is older than the ttl.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.sections.section import parse_duration
from schemas.sections.store import FeatureView

_MICROSECOND = timedelta(microseconds=1)
Key = tuple[str, ...]


class _Row(NamedTuple):
    """A view row: from when it can be used, what orders it, and its place in the table."""

    usable: int
    order: tuple[Any, ...]
    place: int


def newest(
    view: FeatureView, keys: Sequence[Key | None], moments: Sequence[int], rows: pa.Table
) -> list[int | None]:
    """The place in `rows` of the row that counts for each instance; None where there is none.

    keys, moments: entity and event time of each instance, microseconds since 1970 UTC; a key is
    None where a part of it is null. rows: entity, timestamps and values of the view, of which those
    with a null among the first two count for nothing.
    """
    lines = {key: _line(found) for key, found in _by_key(view, rows, set(keys)).items()}
    ttl = ttl_micros(view)
    return [
        None if key is None or key not in lines else _at(lines[key], moment, ttl)
        for key, moment in zip(keys, moments, strict=True)
    ]


def ttl_micros(view: FeatureView) -> int | None:
    """The view's ttl in microseconds."""
    return None if view.ttl is None else parse_duration(view.ttl) // _MICROSECOND


def _by_key(view: FeatureView, rows: pa.Table, wanted: set[Key | None]) -> dict[Key, list[_Row]]:
    times = (view.timestamp_field, view.created_timestamp_column)
    values = sorted(set(rows.column_names) - {*view.entity, *times})
    entity = zip(*(rows[name].to_pylist() for name in view.entity), strict=True)
    timestamps, created = (micros(rows[name]) for name in times)
    ordered = zip(*(map(_ordered, rows[name].to_pylist()) for name in values), strict=True)
    found: dict[Key, list[_Row]] = defaultdict(list)
    columns = zip(entity, timestamps, created, ordered, strict=True)
    for place, (parts, timestamp, known, value) in enumerate(columns):
        if timestamp is not None and known is not None and parts in wanted:
            order = (timestamp, known, value)
            found[parts].append(_Row(max(timestamp, known), order, place))
    return found


def micros(column: pa.ChunkedArray) -> list[int | None]:
    """Moments as microseconds since 1970 UTC."""
    return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_pylist()


def _ordered(value: Any) -> tuple[Any, ...]:
    """A value as Spark orders it: null below any, NaN above every number."""
    if value is None:
        return (0,)
    if isinstance(value, list):
        return (1, [_ordered(one) for one in value])
    return (2,) if value != value else (1, value)


Line = tuple[list[int], list[_Row]]


def _line(rows: list[_Row]) -> Line:
    """The moments at which something becomes usable, and the newest of what then is."""
    rows.sort(key=lambda row: row.usable)
    return [row.usable for row in rows], list(accumulate(rows, _newer))


def _newer(one: _Row, other: _Row) -> _Row:
    return one if one.order >= other.order else other


def _at(line: Line, moment: int, ttl: int | None) -> int | None:
    moments, best = line
    place = bisect_right(moments, moment)
    if place == 0:
        return None
    row = best[place - 1]
    return None if ttl is not None and row.order[0] <= moment - ttl else row.place
