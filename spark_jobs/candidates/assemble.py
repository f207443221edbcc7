"""Candidates from records and labels: newest record, newest label known, joined; in Arrow.

One shard's rows come together once, narrow and unsorted; sorting, keeping the newest and joining
happen here on row numbers, where Spark would sort and shuffle for each of them. Rows themselves are
copied once, when it is known which of them are candidates.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import reasons
from spark_jobs.candidates.census import (
    DAY,
    ROLE,
    AskedShard,
    Census,
    Role,
    asked_of,
    census_of,
    roles,
    with_labels,
)
from spark_jobs.candidates.in_sample import in_sample
from spark_jobs.candidates.matching import groups, hash_places, places
from spark_jobs.candidates.maturity import where_counted
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.columns import column, holds
from spark_jobs.selection.from_arrow import records_of
from spark_jobs.selection.order import Order, hashed, order_of
from spark_jobs.selection.records import Records

_SAME = ("moment", "tie")  # rows of one id with the same of both must have the same `content`
# No candidate's columns, or those of its label.
_DECIDED = ["is_label", "fault", "content", "counting", "label", "row_weight", *_SAME]


class Counts(NamedTuple):
    """What was in a shard: records of the window, those of them without a label, rejects by
    reason, candidates that have no record but in sample, and the census where there is one."""

    records: int
    unmatured: int
    rejects: dict[str, int]
    in_sample: int = 0
    census: Census | None = None

    @property
    def rejected(self) -> int:
        """Records and labels that cannot be used."""
        return sum(self.rejects.values())

    def __add__(self, other: object) -> "Counts":
        """Of two shards together."""
        assert isinstance(other, Counts)
        rejects = Counter(self.rejects) + Counter(other.rejects)
        return Counts(
            self.records + other.records,
            self.unmatured + other.unmatured,
            dict(sorted(rejects.items())),
            self.in_sample + other.in_sample,
            _sum(self.census, other.census),
        )


def _sum(one: Census | None, other: Census | None) -> Census | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def assemble(
    rows: pa.Table,
    seed: int,
    provisional: float | None,
    learnt_until: Mapping[str, datetime] | None = None,
) -> tuple[Records, Counts]:
    """Candidates of a shard in hash order.

    rows: as `narrow` gives them; where instances are among them, a record without one is a reject,
    and there is a census. provisional: the label that stands in until one matures; None
    leaves such records out. learnt_until: see `in_sample`; of the records of an instance the newest
    out of sample counts, and the newest of all where none is.
    """
    faults = pc.value_counts(rows["fault"].drop_null()).to_pylist()
    rejects = {one["values"]: one["counts"] for one in faults}
    faulty = pc.is_valid(rows["fault"])
    usable = (rows.filter(pc.invert(faulty)) if faults else rows).combine_chunks()
    is_label = column(usable, "is_label").to_numpy(zero_copy_only=False).astype(bool)
    role, hashes = roles(usable), hashed(column(usable, "instance_id"), seed)
    is_record = ~is_label if role is None else ~is_label & (role < 0)
    logged = _agreeing(usable, hashes, is_record, reasons.DUPLICATE_DIFFERS, rejects)
    arrived = _agreeing(usable, hashes, is_label, reasons.LABEL_DIFFERS, rejects)
    asked = None if role is None else asked_of(usable, hashes, role)
    if asked is not None:
        logged = _with_instance(asked, logged, rejects)
    learnt = _in_sample(usable, logged, learnt_until)
    records = _newest(usable, logged, (~learnt[logged.row], "moment", "tie"))
    at = _labels_of(usable, records, _newest(usable, arrived, ("moment",)))
    known = column(usable, "label").take(at)
    weighs = column(usable, "row_weight").take(at) if holds(usable, "row_weight") else None
    counting = column(usable, "counting").to_numpy(zero_copy_only=False)[records.row]
    is_label[arrived.row] = False  # what is left contradicts
    refused = _label_ids(rows, faulty), _label_ids(usable, pa.array(is_label))
    label = where_counted(known, counting, _among(usable, records, refused))
    census = None
    if asked is not None and role is not None:
        is_record[logged.row] = False  # what is left is no candidate, and has been answered
        others = hashes[is_record | (role == Role.ANSWERED)], _faulty_hashes(rows, faulty, seed)
        census = census_of(usable, asked, logged, arrived, np.concatenate(others))
        census = with_labels(census, asked, records, np.asarray(label.is_valid()))
    unmatured = label.null_count
    if provisional is None and unmatured:
        there = label.is_valid()
        records, label = records.where(np.asarray(there)), label.drop_null()
        weighs = None if weighs is None else weighs.filter(there)
    counts = Counts(
        records=_records_in(rows),
        unmatured=unmatured,
        rejects=dict(sorted(rejects.items())),
        in_sample=int(learnt[records.row].sum()),
        census=census,
    )
    decided = [name for name in (*_DECIDED, ROLE, DAY) if name in usable.column_names]
    candidates = usable.drop_columns(decided)
    return records_of(candidates, records, label, provisional or 0.0, weighs), counts


def _records_in(rows: pa.Table) -> int:
    """How many of the rows are records to draw from, sound or not."""
    others = pc.sum(rows["is_label"]).as_py() or 0
    if ROLE in rows.column_names:
        others += rows.num_rows - rows[ROLE].null_count
    return int(rows.num_rows - others)


def _with_instance(asked: AskedShard, logged: Order, rejects: dict[str, int]) -> Order:
    """The records of an instance; the others are added to the rejects."""
    there = hash_places(logged.hash, asked.order.hash) >= 0
    if there.all():
        return logged
    rejects[reasons.NO_INSTANCE] = int((~there).sum())
    return logged.where(there)


def _faulty_hashes(rows: pa.Table, faulty: pa.Array, seed: int) -> Array:
    """Hashes of the ids of records that cannot be used, where they have one."""
    refused = rows.filter(pc.and_(faulty, pc.invert(rows["is_label"])))
    return hashed(column(refused, "instance_id").drop_null(), seed)


def _agreeing(
    rows: pa.Table, hashes: Array, among: Array, reason: str, rejects: dict[str, int]
) -> Order:
    """The rows of a mask in hash order, without those that contradict each other; these are added
    to the rejects."""
    order = order_of(column(rows, "instance_id"), hashes, among)
    contradict = _contradicting(rows, order)
    if not contradict.any():
        return order
    rejects[reason] = int(contradict.sum())
    return order.where(~contradict)


def _contradicting(rows: pa.Table, order: Order) -> Array:
    """Mask (n,) of the rows of one id, moment and `tie` whose contents differ.

    Which of them was meant nobody can say. The obvious way is `rejects.contradicting`.
    """
    differ = np.zeros(order.row.size, bool)
    # Instances with one row, nearly all, are not looked at.
    places = np.flatnonzero(_repeated(order))
    if not places.size:
        return differ
    few = rows.select(["instance_id", "content", *_SAME]).take(pa.array(order.row[places]))
    keys = [groups(column(few, "instance_id")), *(_sortable(few, key) for key in _SAME)]
    content = _sortable(few, "content")
    by = np.lexsort((content, *keys))
    same = np.logical_and.reduce([key[by][1:] == key[by][:-1] for key in keys])
    run = np.concatenate([[0], np.cumsum(~same)])
    other = same & (content[by][1:] != content[by][:-1])
    differ[places[by]] = (np.bincount(run[1:], weights=other, minlength=run[-1] + 1) > 0)[run]
    return differ


def _label_ids(rows: pa.Table, mask: Any) -> pa.Array:
    """The ids of the labels among the rows of a mask."""
    return column(rows.filter(pc.and_(rows["is_label"], mask)), "instance_id")


def _among(rows: pa.Table, records: Order, ids: Sequence[pa.Array]) -> Array:
    """Mask (n,) of the records of these ids."""
    few = pa.concat_arrays(ids)
    if not len(few):
        return np.zeros(records.row.size, bool)
    own = column(rows, "instance_id").take(pa.array(records.row))
    return np.asarray(pc.is_in(own, value_set=few))


def _repeated(order: Order) -> Array:
    """Mask (n,) of the rows whose hash another row has."""
    repeated, same = np.zeros(order.row.size, bool), order.hash[1:] == order.hash[:-1]
    repeated[1:] |= same
    repeated[:-1] |= same
    return repeated


def _in_sample(rows: pa.Table, logged: Order, learnt_until: Mapping[str, datetime] | None) -> Array:
    """Mask of all rows, true only of the records among them that are in sample."""
    mask = np.zeros(rows.num_rows, bool)
    if learnt_until is not None and logged.row.size:
        at = pa.array(logged.row)
        version, event = (column(rows, name).take(at) for name in ("model_version", "event_time"))
        moment = _sortable(rows, "moment")[logged.row]
        mask[logged.row] = in_sample(version, event, moment, learnt_until)
    return mask


def _newest(rows: pa.Table, order: Order, keys: Sequence[str | Array]) -> Order:
    """One row an id: the last by `keys`, nulls first; a key is a column, or values (n,)."""
    if not order.repeats:
        return order
    group = groups(column(rows, "instance_id").take(pa.array(order.row)))
    values = [_sortable(rows, key)[order.row] if isinstance(key, str) else key for key in keys]
    by_group = np.lexsort((*reversed(values), group))
    last = by_group[np.flatnonzero(np.diff(group[by_group], append=-1))]
    return Order(order.row[last], order.hash[last])


def _labels_of(rows: pa.Table, records: Order, labels: Order) -> pa.Array:
    """The row of the label of each record, (n,), null where there is none; both have one row an
    id."""
    if not labels.row.size:
        return pa.nulls(records.row.size, pa.int64())
    place = places(column(rows, "instance_id"), records, labels)
    return pa.array(labels.row[place], mask=place < 0)


def _sortable(rows: pa.Table, name: str) -> Array:
    values = column(rows, name)
    if pa.types.is_floating(values.type):
        return pc.fill_null(values, -np.inf).to_numpy(zero_copy_only=False)
    return pc.fill_null(values, np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
