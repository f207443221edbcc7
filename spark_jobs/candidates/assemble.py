"""Candidates from records and labels: newest record, newest label known, joined; in Arrow.

One shard's rows come together once, narrow and unsorted; sorting, keeping the newest and joining
happen here on row numbers, where Spark would sort and shuffle for each of them. Rows themselves are
copied once, when it is known which of them are candidates.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import reasons
from spark_jobs.candidates.maturity import where_counted
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.records import Order, Records, column, hash_order, records_of


class Counts(NamedTuple):
    """What was in a shard: records of the window, candidates without a label, rejects by reason."""

    records: int
    unmatured: int
    rejects: dict[str, int]

    @property
    def rejected(self) -> int:
        """Records and labels that cannot be used."""
        return sum(self.rejects.values())

    def __add__(self, other: object) -> "Counts":
        """Of two shards together."""
        assert isinstance(other, Counts)
        rejects = Counter(self.rejects) + Counter(other.rejects)
        records = self.records + other.records
        return Counts(records, self.unmatured + other.unmatured, dict(sorted(rejects.items())))


def assemble(rows: pa.Table, seed: int, provisional: float | None) -> tuple[Records, Counts]:
    """Candidates of a shard in hash order.

    rows: as `narrow` gives them. provisional: the label that stands in until one matures; None
    leaves such records out.
    """
    faults = pc.value_counts(rows["fault"].drop_null()).to_pylist()
    rejects = {one["values"]: one["counts"] for one in faults}
    usable = (rows.filter(pc.is_null(rows["fault"])) if faults else rows).combine_chunks()
    is_label = column(usable, "is_label").to_numpy(zero_copy_only=False).astype(bool)
    ids = column(usable, "instance_id")
    labels = _newest(usable, hash_order(ids, seed, is_label), ("moment", "label"))
    logged = hash_order(ids, seed, ~is_label)
    contradict = _contradicting(usable, logged)
    if contradict.any():
        rejects[reasons.DUPLICATE_DIFFERS] = int(contradict.sum())
        logged = logged.where(~contradict)
    records = _newest(usable, logged, ("moment", "tie"))
    known = _labels_of(usable, records, labels)
    counting = column(usable, "counting").to_numpy(zero_copy_only=False)[records.row]
    label = where_counted(known, counting)
    counts = Counts(
        records=rows.num_rows - (pc.sum(rows["is_label"]).as_py() or 0),
        unmatured=label.null_count,
        rejects=dict(sorted(rejects.items())),
    )
    if provisional is None and label.null_count:
        records, label = records.where(np.asarray(label.is_valid())), label.drop_null()
    candidates = usable.drop_columns(["is_label", "fault", "counting", "label", "moment", "tie"])
    return records_of(candidates, records, label, provisional or 0.0), counts


def _contradicting(rows: pa.Table, order: Order) -> Array:
    """Mask of the records, shape (n,), of one id, model version, batch and moment that disagree.

    Which of them was meant nobody can say. The obvious way is `rejects.contradicting`.
    """
    differ = np.zeros(order.row.size, bool)
    same = order.hash[1:] == order.hash[:-1]
    if not same.any():
        return differ
    # Instances with one record, nearly all, are not looked at.
    repeated = np.zeros(order.row.size, bool)
    repeated[1:][same] = repeated[:-1][same] = True
    places = np.flatnonzero(repeated)
    few = rows.take(pa.array(order.row[places]))
    groups: dict[tuple[str, int, int], list[int]] = {}
    keys = (few[name].to_pylist() for name in ("instance_id", "tie", "moment"))
    for place, key in enumerate(zip(*keys, strict=True)):
        groups.setdefault(key, []).append(place)
    answers = few.select(["prediction", "logits", "statistics", "event_time"])
    for members in groups.values():
        if len(members) > 1:
            first, *others = answers.take(pa.array(members)).to_pylist()
            differ[places[members]] = any(other != first for other in others)
    return differ


def _newest(rows: pa.Table, order: Order, keys: tuple[str, str]) -> Order:
    """One row an id: the last by `keys`, nulls first."""
    if not order.repeats:
        return order
    ordered = column(rows, "instance_id").take(pa.array(order.row))
    another = np.asarray(pc.not_equal(ordered[1:], ordered[:-1]))
    group = np.concatenate([[0], np.cumsum(another)])
    first, second = (_sortable(rows, key)[order.row] for key in keys)
    by_group = np.lexsort((second, first, group))
    last = by_group[np.flatnonzero(np.diff(group[by_group], append=-1))]
    return Order(order.row[last], order.hash[last])


def _labels_of(rows: pa.Table, records: Order, labels: Order) -> pa.Array:
    """The label of each record, (n,), null where there is none; both have one row an id."""
    if not labels.row.size:
        return pa.nulls(records.row.size, pa.float64())
    ids = column(rows, "instance_id")
    place = np.minimum(np.searchsorted(labels.hash, records.hash), labels.hash.size - 1)
    missing = labels.hash[place] != records.hash
    at = pa.array(labels.row[place], mask=missing)
    same = pc.equal(ids.take(pa.array(records.row[~missing])), ids.take(at.drop_null()))
    if labels.repeats or not pc.all(same, min_count=0).as_py():
        own = ids.take(pa.array(records.row))  # two ids share a hash: the ids themselves decide
        at = pa.array(labels.row).take(pc.index_in(own, ids.take(pa.array(labels.row))))
    return column(rows, "label").take(at)


def _sortable(rows: pa.Table, name: str) -> Array:
    values = column(rows, name)
    if pa.types.is_floating(values.type):
        return pc.fill_null(values, -np.inf).to_numpy(zero_copy_only=False)
    return pc.fill_null(values, np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
