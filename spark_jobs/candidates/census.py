"""What the instances of a window say of its records and labels: who was asked, who has an answer.

Counted in the pass that brings records and labels together, so that a refresh knows before it draws
which records belong to no instance, and which instances left no record. The obvious way, in Spark
SQL, is `reference.slow_census`.
"""

from collections import Counter
from enum import IntEnum
from operator import add
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from schemas import findings
from schemas.reasons import CLOCK_SKEW
from spark_jobs.candidates.matching import groups, hash_places
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.columns import column
from spark_jobs.selection.order import Order, order_of

ROLE, DAY = "role", "day"  # columns of the narrow rows, where there is a census
FEW = 5  # ids that are named
_DAY = 86_400_000_000  # microseconds
_SKEW = CLOCK_SKEW // CLOCK_SKEW.resolution
_MINUTES = 60_000_000


class Role(IntEnum):
    """What a narrow row is that is neither a record to draw from nor a label: `role`."""

    INSTANCE = 0
    ANSWERED = 1  # a record that is not drawn from: held out, or of a later day


class Found(NamedTuple):
    """Rows with a fault, and a few of their ids."""

    rows: int
    ids: tuple[str, ...]


class Day(NamedTuple):
    """Of one event date: instances, those with a record; records drawn from, those with a label."""

    instances: int = 0
    recorded: int = 0
    records: int = 0
    labelled: int = 0


class Census(NamedTuple):
    """What was counted: by day since 1970, rows looked at by table, faults by kind of finding, and
    by hours how many records are so much later than their instance."""

    days: dict[int, Day]
    rows: dict[str, int]
    found: dict[str, Found]
    shifts: dict[float, int]

    def __add__(self, other: object) -> "Census":
        """Of two shards together."""
        assert isinstance(other, Census)
        days = {
            day: Day(*map(add, self.days.get(day, Day()), other.days.get(day, Day())))
            for day in sorted({*self.days, *other.days})
        }
        found = {
            kind: _both(self.found.get(kind), other.found.get(kind))
            for kind in sorted({*self.found, *other.found})
        }
        rows = Counter(self.rows) + Counter(other.rows)
        return Census(days, dict(rows), found, dict(Counter(self.shifts) + Counter(other.shifts)))


def _both(one: Found | None, other: Found | None) -> Found:
    there = [found for found in (one, other) if found is not None]
    ids = sorted({name for found in there for name in found.ids})
    return Found(sum(found.rows for found in there), tuple(ids[:FEW]))


class AskedShard(NamedTuple):
    """The instances of a shard, n of them: one row an id, in hash order."""

    order: Order
    day: Array  # (n,) event date, days since 1970
    moment: Array  # (n,) event time, microseconds since then
    rows: int  # with those whose id another row has
    found: dict[str, Found]


def roles(rows: pa.Table) -> Array | None:
    """The role of each row, (n,), -1 of records and labels; None where there is no census."""
    if ROLE not in rows.column_names:
        return None
    return np.asarray(column(rows, ROLE).fill_null(-1))


def asked_of(rows: pa.Table, hashes: Array, role: Array) -> AskedShard:
    """The instances among the rows."""
    ids = column(rows, "instance_id")
    order = order_of(ids, hashes, role == Role.INSTANCE)
    day, moment = _days(rows)[order.row], _moments(rows)[order.row]
    found = _found(ids, order.row, {findings.INSTANCE_DATE: day != moment // _DAY})
    count = order.row.size
    if order.repeats:
        group = groups(ids.take(pa.array(order.row)))
        first = np.flatnonzero(np.diff(group, prepend=-1))
        again = np.setdiff1d(np.arange(group.size), first)
        found |= _found(ids, order.row[again], {findings.REPEATED: np.ones(again.size, bool)})
        order, day, moment = Order(order.row[first], order.hash[first]), day[first], moment[first]
    return AskedShard(order, day, moment, count, found)


def census_of(
    rows: pa.Table, asked: AskedShard, logged: Order, arrived: Order, others: Array
) -> Census:
    """The census of a shard, but for `records` and `labelled` of its days.

    logged, arrived: its records, each of an instance, and its labels. others: hashes of whatever
    else has left a record.
    """
    ids, event, day = column(rows, "instance_id"), _moments(rows), _days(rows)
    known_at = np.asarray(column(rows, "moment").fill_null(0))
    place = hash_places(arrived.hash, asked.order.hash)
    told, its = arrived.row[place >= 0], place[place >= 0]
    found = asked.found | _found(ids, arrived.row, {findings.LABEL_UNKNOWN: place < 0})
    found |= _found(
        ids,
        told,
        {
            findings.LABEL_DATE: day[told] != asked.day[its],
            findings.LABEL_EARLY: known_at[told] < asked.moment[its] - _SKEW,
        },
    )
    later = event[logged.row] - asked.moment[hash_places(logged.hash, asked.order.hash)]
    moved = np.abs(later) > _SKEW
    found |= _found(ids, logged.row, {findings.RECORD_TIME: moved})
    hashes = asked.order.hash
    recorded = (hash_places(hashes, logged.hash) >= 0) | (hash_places(hashes, np.sort(others)) >= 0)
    numbers, of_day = np.unique(asked.day, return_inverse=True)
    instances, with_record = np.bincount(of_day), np.bincount(of_day, weights=recorded)
    days = {
        int(number): Day(int(asked_for), int(have))
        for number, asked_for, have in zip(numbers, instances, with_record, strict=True)
    }
    looked_at = {"instances": asked.rows, "labels": arrived.row.size, "records": logged.row.size}
    return Census(days, looked_at, found, _shifts(later[moved]))


def with_labels(census: Census, asked: AskedShard, records: Order, labelled: Array) -> Census:
    """The census with its days' records, one an instance, and those of a mask (n,) whose label has
    matured."""
    days = dict(census.days)
    day = asked.day[hash_places(records.hash, asked.order.hash)]
    for number in np.unique(day):
        here = day == number
        counts = {"records": int(here.sum()), "labelled": int(labelled[here].sum())}
        days[int(number)] = days[int(number)]._replace(**counts)
    return census._replace(days=days)


def _found(ids: pa.Array, row: Array, faults: dict[str, Array]) -> dict[str, Found]:
    """The faults that there are; each is a mask of `row`."""
    found = {}
    for kind, mask in faults.items():
        if mask.any():
            few = ids.take(pa.array(row[mask][:FEW])).to_pylist()
            found[kind] = Found(int(mask.sum()), tuple(sorted(set(few))))
    return found


def _shifts(later: Array) -> dict[float, int]:
    """How many of the differences (n,) are a number of quarters of an hour, by hours."""
    quarters = np.rint(later / (15 * _MINUTES))
    whole = np.abs(later - quarters * 15 * _MINUTES) <= _MINUTES
    return {float(one) / 4: many for one, many in Counter(quarters[whole].tolist()).items()}


def _moments(rows: pa.Table) -> Array:
    moments = column(rows, "event_time").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray(moments.fill_null(0))


def _days(rows: pa.Table) -> Array:
    return np.asarray(column(rows, DAY).fill_null(0))
