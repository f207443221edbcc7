"""Which row of one kind has the id of which of another: by their hashes, and where it matters the
ids decide."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.order import Order


def groups(ids: pa.Array) -> Array:
    """A number for each id (n,), of ids that stand together."""
    another = np.asarray(pc.not_equal(ids[1:], ids[:-1]))
    return np.concatenate([[0], np.cumsum(another)])


def places(ids: pa.Array, wanted: Order, among: Order) -> Array:
    """Where in `among`, which has one row an id, each row of `wanted` is, (n,); -1 where nowhere.

    ids: of all rows, which both orders number.
    """
    place = hash_places(wanted.hash, among.hash)
    hit = place >= 0
    there = ids.take(pa.array(among.row[place[hit]]))
    same = pc.equal(ids.take(pa.array(wanted.row[hit])), there)
    if among.repeats or not pc.all(same, min_count=0).as_py():
        own = ids.take(pa.array(wanted.row))  # two ids share a hash: the ids themselves decide
        found = pc.index_in(own, value_set=ids.take(pa.array(among.row)))
        return np.asarray(pc.fill_null(found, -1)).astype(np.int64)
    return place


def hash_places(wanted: Array, among: Array) -> Array:
    """Where in the ascending hashes `among` each hash `wanted` is, (n,); -1 where nowhere.

    Of ids that share a hash, one pair in 2^64, one is taken for the other: good enough to count.
    """
    if not among.size:
        return np.full(wanted.size, -1)
    place = np.minimum(np.searchsorted(among, wanted), among.size - 1)
    place[among[place] != wanted] = -1
    return place
