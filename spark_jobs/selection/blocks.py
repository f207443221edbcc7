"""Candidates in blocks: ranges of the order given by the hash of (id, seed).

The number of blocks is a function of N alone and each block is sorted by (hash, id), so whatever
a kernel computes from a block is the same, to the last bit, on any cluster (law 1).
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.hashing import hash_ids
from spark_jobs.selection.records import Records, from_arrow

T = TypeVar("T")
Kernel = Callable[[int, Records], T]

BLOCK_ROWS = 1 << 15


class Blocks(Protocol):
    """Something that runs a kernel on every block."""

    count: int

    def summarise(self, kernel: Kernel[T]) -> dict[int, T]:
        """One small result a block that has rows, by block index, in block order."""

    def rows(self, kernel: Kernel[pa.Table]) -> Any:
        """One table a block, put together (Arrow table or Spark DataFrame)."""


def block_bits(count: int) -> int:
    """Leading bits of the hash that name the block: blocks hold some 2^14 to 2^15 rows."""
    return max(0, (count - 1) // BLOCK_ROWS).bit_length()


def block_of(hashes: Array, bits: int) -> Array:
    """Index of each hash's block, shape (n,)."""
    if bits == 0:
        return np.zeros(hashes.size, np.int64)
    return (hashes >> np.uint64(64 - bits)).astype(np.int64)


def split(candidates: pa.Table, seed: int, bits: int) -> Iterator[tuple[int, Records]]:
    """The blocks within a table that holds each of its blocks whole, in block order."""
    hashes = hash_ids(candidates["instance_id"].combine_chunks(), seed)
    keys = pa.table({"hash": hashes, "id": candidates["instance_id"]})
    order = pc.sort_indices(keys, sort_keys=[("hash", "ascending"), ("id", "ascending")])
    ordered = candidates.take(order)
    block = block_of(hashes[order.to_numpy()], bits)
    edges = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
    for low, high in pairwise(edges):
        yield int(block[low]), from_arrow(ordered.slice(low, high - low))


class ArrowBlocks:
    """Blocks of an Arrow table in this process."""

    def __init__(self, candidates: pa.Table, seed: int) -> None:
        self.count = candidates.num_rows
        self._blocks = list(split(candidates, seed, block_bits(self.count)))

    def summarise(self, kernel: Kernel[T]) -> dict[int, T]:
        """One result a block, in block order."""
        return {index: kernel(index, records) for index, records in self._blocks}

    def rows(self, kernel: Kernel[pa.Table]) -> pa.Table:
        """The tables of all blocks, in block order."""
        return pa.concat_tables(self.summarise(kernel).values())
