"""Candidates from records and labels: newest record, newest label known, joined; in Arrow.

One shard's rows come together once, narrow and unsorted; sorting, keeping the newest and joining
happen here on arrays, where Spark would sort and shuffle for each of them.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import reasons
from spark_jobs.maturity import where_counted
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.records import Records, column, from_arrow, hash_order


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

    rows: as `spark_jobs.candidates.narrow` gives them. provisional: the label that stands in until
    one matures; None leaves such records out.
    """
    faults = pc.value_counts(rows["fault"].drop_null()).to_pylist()
    rejects = {one["values"]: one["counts"] for one in faults}
    usable = rows.filter(pc.is_null(rows["fault"]))
    is_label = usable["is_label"]
    labels = _newest(usable.filter(is_label), seed, ("moment", "label"))
    logged = usable.filter(pc.invert(is_label))
    contradict = _contradicting(logged, seed)
    if contradict.any():
        rejects[reasons.DUPLICATE_DIFFERS] = int(contradict.sum())
        logged = logged.filter(pa.array(~contradict))
    records = _newest(logged, seed, ("moment", "tie"))
    at = pc.index_in(records["instance_id"], value_set=labels["instance_id"].combine_chunks())
    label = labels["label"].combine_chunks().take(at.combine_chunks())
    label = where_counted(label, records["counting"].to_numpy())
    records = records.set_column(records.column_names.index("label"), "label", label)
    candidates = records.drop_columns(["is_label", "fault", "counting", "moment", "tie"])
    unmatured = pc.sum(pc.is_null(candidates["label"])).as_py() or 0
    if provisional is None:
        candidates = candidates.filter(pc.is_valid(candidates["label"]))
    counts = Counts(
        records=rows.num_rows - (pc.sum(rows["is_label"]).as_py() or 0),
        unmatured=unmatured,
        rejects=dict(sorted(rejects.items())),
    )
    return from_arrow(candidates, seed, provisional=provisional or 0.0), counts


def _contradicting(rows: pa.Table, seed: int) -> Array:
    """Mask of the records, shape (n,), of one id, model version, batch and moment that disagree.

    Which of them was meant nobody can say. The obvious way is `spark_jobs.rejects.contradicting`.
    """
    found = np.zeros(rows.num_rows, bool)
    order, hashes = hash_order(column(rows, "instance_id"), seed)
    same = hashes[1:] == hashes[:-1]
    if not same.any():
        return found
    # Instances with one record, nearly all, are not looked at.
    repeated = np.zeros(rows.num_rows, bool)
    repeated[order[1:][same]] = repeated[order[:-1][same]] = True
    places = np.flatnonzero(repeated)
    few = rows.take(pa.array(places))
    groups: dict[tuple[str, int, int], list[int]] = {}
    keys = (few[name].to_pylist() for name in ("instance_id", "tie", "moment"))
    for place, key in enumerate(zip(*keys, strict=True)):
        groups.setdefault(key, []).append(place)
    answers = few.select(["prediction", "logits", "statistics", "event_time"])
    for members in groups.values():
        if len(members) > 1:
            first, *others = answers.take(pa.array(members)).to_pylist()
            found[places[members]] = any(other != first for other in others)
    return found


def _newest(rows: pa.Table, seed: int, keys: tuple[str, str]) -> pa.Table:
    """One row an id: the last by `keys`, nulls first."""
    ids = column(rows, "instance_id")
    order, hashes = hash_order(ids, seed)
    if not (hashes[1:] == hashes[:-1]).any():
        return rows
    ordered = ids.take(pa.array(order))
    another = np.asarray(pc.not_equal(ordered[1:], ordered[:-1]))
    group = np.concatenate([[0], np.cumsum(another)])
    first, second = (_sortable(rows, key)[order] for key in keys)
    by_group = np.lexsort((second, first, group))
    last = np.flatnonzero(np.diff(group[by_group], append=-1))
    return rows.take(pa.array(order[by_group[last]]))


def _sortable(rows: pa.Table, name: str) -> Array:
    values = column(rows, name)
    if pa.types.is_floating(values.type):
        return pc.fill_null(values, -np.inf).to_numpy(zero_copy_only=False)
    return pc.fill_null(values, np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
