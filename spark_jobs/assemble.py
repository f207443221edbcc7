"""Candidates from records and labels: newest record, newest label known, joined; in Arrow.

One shard's rows come together once, narrow and unsorted; sorting, keeping the newest and joining
happen here on arrays, where Spark would sort and shuffle for each of them.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.records import Records, column, from_arrow, hash_order


class Counts(NamedTuple):
    """What was in a shard: records of the window, unusable rows, candidates without a label."""

    records: int
    unusable: int
    unmatured: int

    def __add__(self, other: object) -> "Counts":
        """Of two shards together."""
        assert isinstance(other, Counts)
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


def assemble(rows: pa.Table, seed: int, provisional: float | None) -> tuple[Records, Counts]:
    """Candidates of a shard in hash order.

    rows: as `spark_jobs.candidates.narrow` gives them. provisional: the label that stands in until
    one matures; None leaves such records out.
    """
    usable = rows.filter(rows["usable"])
    is_label = usable["is_label"]
    labels = _newest(usable.filter(is_label), seed, ("moment", "label"))
    records = _newest(usable.filter(pc.invert(is_label)), seed, ("moment", "tie"))
    at = pc.index_in(records["instance_id"], value_set=labels["instance_id"].combine_chunks())
    label = labels["label"].combine_chunks().take(at.combine_chunks())
    records = records.set_column(records.column_names.index("label"), "label", label)
    candidates = records.drop_columns(["is_label", "usable", "moment", "tie"])
    unmatured = pc.sum(pc.is_null(candidates["label"])).as_py() or 0
    if provisional is None:
        candidates = candidates.filter(pc.is_valid(candidates["label"]))
    counts = Counts(
        records=rows.num_rows - (pc.sum(rows["is_label"]).as_py() or 0),
        unusable=rows.num_rows - usable.num_rows,
        unmatured=unmatured,
    )
    return from_arrow(candidates, seed, provisional=provisional or 0.0), counts


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
