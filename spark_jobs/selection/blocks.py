"""Candidates in blocks: ranges of the order given by the hash of (id, seed).

The number of blocks is a function of N alone, so whatever a kernel computes from a block is the
same, to the last bit, on any cluster (law 1); sums go up one tree over the block numbers.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.records import Contents, Records, contents
from spark_jobs.selection.tree import fold

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
T = TypeVar("T")
Kernel = Callable[[int, Records], T]
Add = Callable[[T, T], T]
Parts = tuple[str, ...]

BLOCK_ROWS = 1 << 15
MOST_BITS = 14  # beyond 2^29 candidates blocks grow instead: what the driver holds does not


class Held(Protocol[S_co]):
    """Results of a kernel, kept where they were computed."""

    def total(self, kernel: Callable[[S_co], T], add: Add[T]) -> T:
        """The results of a function of each, added up."""

    def close(self) -> None:
        """Let go of them."""


class Blocks(Protocol):
    """Something that runs kernels on every block; results come in block order.

    parts: what else of the records the kernel reads, "sketch" or "kept".
    """

    count: int
    contents: list[Contents]

    def each(self, kernel: Kernel[T], parts: Parts = ()) -> dict[int, T]:
        """One small result a block that has rows, by block index."""

    def total(self, kernel: Kernel[T], add: Add[T], parts: Parts = ()) -> T:
        """The results of all blocks, added up."""

    def each_and_total(
        self, kernel: Kernel[tuple[S, T]], add: Add[T], parts: Parts = ()
    ) -> tuple[dict[int, S], T]:
        """Both of the above in one pass."""

    def hold(self, kernel: Kernel[S], parts: Parts = ()) -> Held[S]:
        """One result a block, too large to be brought together."""

    def rows(self, kernel: Kernel[pa.Table], parts: Parts = ()) -> Any:
        """One table a block, put together (Arrow table or Spark DataFrame)."""

    def stored(
        self, kernel: Kernel[pa.Table], store: Callable[[pa.Table], T], parts: Parts = ()
    ) -> list[T]:
        """What `store` says of the tables of blocks that lie together, put together."""

    def close(self) -> None:
        """Free what is held; nothing can be computed afterwards."""


def block_bits(count: int) -> int:
    """Leading bits of the hash that name the block: blocks hold some 2^14 to 2^15 rows."""
    return min(MOST_BITS, max(0, (count - 1) // BLOCK_ROWS).bit_length())


def block_of(hashes: Array, bits: int) -> Array:
    """Index of each hash's block, shape (n,)."""
    if bits == 0:
        return np.zeros(hashes.size, np.int64)
    return (hashes >> np.uint64(64 - bits)).astype(np.int64)


def split(records: Records, bits: int) -> Iterator[tuple[int, Records]]:
    """The blocks within records that hold each of their blocks whole, in block order."""
    block = block_of(records.hash, bits)
    edges = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
    for low, high in pairwise(edges):
        yield int(block[low]), records.part(int(low), int(high))


class ArrowBlocks:
    """Blocks of records in this process."""

    def __init__(self, records: Records) -> None:
        self.count = records.size
        self._bits = block_bits(self.count)
        self._blocks = list(split(records, self._bits))
        self.contents = [contents(records)] if self.count else []

    def each(self, kernel: Kernel[T], parts: Parts = ()) -> dict[int, T]:
        """One result a block, by block index."""
        return {index: kernel(index, records) for index, records in self._blocks}

    def total(self, kernel: Kernel[T], add: Add[T], parts: Parts = ()) -> T:
        """The results of all blocks, added up."""
        return fold(self.each(kernel), self._bits, add)[0]

    def each_and_total(
        self, kernel: Kernel[tuple[S, T]], add: Add[T], parts: Parts = ()
    ) -> tuple[dict[int, S], T]:
        """Both in one pass."""
        both = self.each(kernel)
        sums = fold({index: total for index, (_, total) in both.items()}, self._bits, add)[0]
        return {index: small for index, (small, _) in both.items()}, sums

    def hold(self, kernel: Kernel[S], parts: Parts = ()) -> "HeldHere[S]":
        """One result a block."""
        return HeldHere(self.each(kernel), self._bits)

    def rows(self, kernel: Kernel[pa.Table], parts: Parts = ()) -> pa.Table:
        """The tables of all blocks, in block order."""
        return pa.concat_tables(self.each(kernel).values())

    def stored(
        self, kernel: Kernel[pa.Table], store: Callable[[pa.Table], T], parts: Parts = ()
    ) -> list[T]:
        """What `store` says of the tables of all blocks."""
        return [store(self.rows(kernel))]

    def close(self) -> None:
        """Nothing to free."""


class HeldHere(Held[S]):
    """Results in this process."""

    def __init__(self, values: dict[int, S], bits: int) -> None:
        self._values, self._bits = values, bits

    def total(self, kernel: Callable[[S], T], add: Add[T]) -> T:
        """The results of a function of each, added up."""
        return fold({i: kernel(one) for i, one in self._values.items()}, self._bits, add)[0]

    def close(self) -> None:
        """Let go of them."""
        self._values = {}
