"""The order of the hash, in which rows are blocked, drawn and matched by their ids."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.hashing import hash_ids


class Order(NamedTuple):
    """Rows of a table, ascending by (hash, id)."""

    row: Array  # (n,) row numbers
    hash: Array  # (n,) uint64

    @property
    def repeats(self) -> bool:
        """Whether two rows have one hash: those of one id, or of two ids that collide."""
        return bool((self.hash[1:] == self.hash[:-1]).any())

    def where(self, mask: Array) -> "Order":
        """The rows of a mask."""
        return Order(self.row[mask], self.hash[mask])


def hash_order(ids: pa.Array, seed: int, among: Array | None = None) -> Order:
    """The rows of a mask `among` (n,), or all, ascending by (hash, id)."""
    return order_of(ids, hashed(ids, seed), among)


def hashed(ids: pa.Array, seed: int) -> Array:
    """The hash of each id, (n,), by which records are ordered."""
    return hash_ids(ids, seed)


def order_of(ids: pa.Array, hashes: Array, among: Array | None = None) -> Order:
    """`hash_order` of ids whose hashes (n,) are known."""
    row = np.arange(hashes.size) if among is None else np.flatnonzero(among)
    row = row[np.argsort(hashes[row], kind="stable")]
    order = Order(row, hashes[row])
    tied = np.flatnonzero(order.hash[1:] == order.hash[:-1])
    if tied.size:
        first, second = (ids.take(pa.array(row[places])) for places in (tied, tied + 1))
        if pc.any(pc.not_equal(first, second)).as_py():  # two ids share a hash: the id decides
            keys = pa.table({"hash": order.hash, "id": ids.take(pa.array(row))})
            by_id = pc.sort_indices(keys, [("hash", "ascending"), ("id", "ascending")])
            return order.where(by_id.to_numpy())
    return order
