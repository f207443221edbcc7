"""Blocks on a cluster: one narrow shuffle into shards, then each pass runs shard by shard.

A shard is a range of the hash order that holds a few blocks. It is packed once, in pieces of about
a block, cached, and read in parts. A row must not be a whole shard: Java copies it several times on
its way to Python, each time with room for twice as much. Up to `driver_rows` rows are narrow enough
for the driver (some 50 MB): the same kernels run there, on the same blocks, to the same bits, and
no pass costs a Spark job.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_jobs.blocks.shards import PARTS, pack, unpack
from spark_jobs.blocks.spark_held import HeldInSpark
from spark_jobs.candidates.assemble import Counts, assemble
from spark_jobs.selection.blocks import MOST_BITS, Add, ArrowBlocks, Kernel, block_bits, split
from spark_jobs.selection.engine import SelectionResult
from spark_jobs.selection.records import Contents, Records, contents, joined
from spark_jobs.selection.tree import fold
from spark_jobs.storage.python_tasks import Batches, over_batches
from spark_jobs.storage.settle import driver_rows

S = TypeVar("S")
T = TypeVar("T")
Pieces = Iterable[Records]  # of one shard, in order
Assemble = Callable[[pa.Table], tuple[Records, Counts]]

SHARD_ROWS = 1 << 19  # records and labels; each pass pays some 0.02 s for every shard
FEWER_BITS = 3  # where the candidates call for 2^3 times fewer shards, they are put together

_PACKED = (
    "shard INT, rows BIGINT, counts BINARY, contents BINARY,"
    " core BINARY, sketch BINARY, kept BINARY"
)
_RESULT = (
    "instance_id STRING, event_time TIMESTAMP, model_version STRING, label DOUBLE, loss DOUBLE,"
    " score DOUBLE, probability DOUBLE, probability_negative DOUBLE, probability_positive DOUBLE,"
    " drawn BOOLEAN, weight DOUBLE, offset DOUBLE, position BIGINT, row_weight DOUBLE"
)


def shard_bits(at_most: int) -> int:
    """Leading bits of the hash that name the shard, for at most so many rows."""
    return min(MOST_BITS, max(0, (at_most - 1) // SHARD_ROWS).bit_length())


def blocks_of(
    narrow: DataFrame,
    at_most: int,
    seed: int,
    provisional: float | None,
    learnt_until: Mapping[str, datetime] | None = None,
) -> "tuple[SparkBlocks | ArrowBlocks, Counts]":
    """The candidates in what `candidates.narrow` gives, and what else was there.

    at_most: a bound on its rows, from the tables' logs. provisional, learnt_until: see `assemble`.
    """
    if at_most > driver_rows(narrow.sparkSession):
        blocks = SparkBlocks(narrow, at_most, seed, provisional, learnt_until)
        return blocks, blocks.counts
    records, counts = assemble(narrow.toArrow(), seed, provisional, learnt_until)
    return ArrowBlocks(records), counts


def drawn_frame(spark: SparkSession, selection: SelectionResult) -> DataFrame:
    """The drawn rows of a selection as a DataFrame, whichever blocks they come from."""
    return decided_frame(spark, selection, drawn_only=True)


def decided_frame(
    spark: SparkSession, selection: SelectionResult, *, drawn_only: bool = False
) -> DataFrame:
    """The candidates of a selection with what was decided, whichever blocks they come from."""
    rows = selection.rows(drawn_only)
    return rows if isinstance(rows, DataFrame) else spark.createDataFrame(rows, _RESULT)


class SparkBlocks:
    """Implements `selection.blocks.Blocks`; the shards stay cached until `close`."""

    def __init__(
        self,
        narrow: DataFrame,
        at_most: int,
        seed: int,
        provisional: float | None,
        learnt_until: Mapping[str, datetime] | None = None,
    ) -> None:
        bits = shard_bits(at_most)
        hashed = F.xxhash64("instance_id", F.lit(seed).cast("bigint"))
        # The shift is unsigned, as in `selection.blocks.block_of`; by 64 it would be by 0.
        shard = F.shiftrightunsigned(hashed, 64 - bits).cast("int") if bits else F.lit(0)
        together = partial(assemble, seed=seed, provisional=provisional, learnt_until=learnt_until)
        run = partial(_packed, bits=bits, together=together)
        apart = narrow.repartitionById(1 << bits, shard)
        self._shards = over_batches(apart, run, _PACKED).persist()
        with ExitStack() as unless_done:  # whoever gets no blocks can close none
            unless_done.callback(self.close)
            self._meet(bits)
            unless_done.pop_all()

    def _meet(self, bits: int) -> None:
        """What the shards say of themselves, and fewer of them where that is enough."""
        small = self._shards.select("rows", "counts", "contents").collect()
        self.count: int = sum(row["rows"] for row in small)
        # Pickled by our own executors, sent over Spark's channel, as Spark does with any result.
        counts: list[Counts] = [pickle.loads(row["counts"]) for row in small if row["counts"]]
        self.counts = sum(counts, start=Counts(0, 0, {}))
        self.contents: list[Contents] = [
            pickle.loads(row["contents"]) for row in small if row["contents"]
        ]
        self._bits, self._shard_bits = block_bits(self.count), bits
        called_for = min(shard_bits(self.count), self._bits)
        if self._bits < bits or called_for + FEWER_BITS <= bits:
            self._regroup(bits, called_for)

    def _regroup(self, bits: int, fewer: int) -> None:
        """Far fewer candidates than rows: 2^fewer shards in place of 2^bits."""
        number = F.shiftright("shard", bits - fewer)
        apart = self._shards.where("rows > 0").repartitionById(1 << fewer, number)
        before = self._shards
        self._shards = over_batches(apart, partial(_united, bits=self._bits), _PACKED).persist()
        try:
            self._shards.count()
        finally:
            before.unpersist()
        self._shard_bits = fewer

    def each(self, kernel: Kernel[T], parts: tuple[str, ...] = ()) -> dict[int, T]:
        """One small result a block that has rows, by block index."""
        shards = self._collected(partial(_each, kernel=kernel, bits=self._bits), parts)
        return dict(sorted(item for results in shards for item in results.items()))

    def total(self, kernel: Kernel[T], add: Add[T], parts: tuple[str, ...] = ()) -> T:
        """The results of all blocks, added up."""
        return self.each_and_total(partial(_only_total, kernel=kernel), add, parts)[1]

    def each_and_total(
        self, kernel: Kernel[tuple[S, T]], add: Add[T], parts: tuple[str, ...] = ()
    ) -> tuple[dict[int, S], T]:
        """Both of the above in one pass."""
        levels = self._bits - self._shard_bits
        run = partial(_both, kernel=kernel, add=add, bits=self._bits, levels=levels)
        shards = self._collected(run, parts)
        small = dict(sorted(item for results, _ in shards for item in results.items()))
        totals = {index: total for _, sums in shards for index, total in sums.items()}
        return small, fold(totals, self._shard_bits, add)[0]

    def hold(self, kernel: Kernel[S], parts: tuple[str, ...] = ()) -> HeldInSpark[S]:
        """One result a block, cached by the executors."""
        run = partial(_each, kernel=kernel, bits=self._bits)
        return HeldInSpark(self._mapped(run, parts).persist(), self._bits, self._shard_bits)

    def rows(self, kernel: Kernel[pa.Table], parts: tuple[str, ...] = ()) -> DataFrame:
        """One table a block, as a DataFrame; it can be computed until `close`."""
        run = partial(_tables, kernel=kernel, bits=self._bits)
        return over_batches(self._parts(parts), run, _RESULT)

    def stored(
        self, kernel: Kernel[pa.Table], store: Callable[[pa.Table], T], parts: tuple[str, ...] = ()
    ) -> list[T]:
        """What `store` says of the tables of each shard, asked where the shard is."""
        run = partial(_stored, kernel=kernel, store=store, bits=self._bits)
        return self._collected(run, parts)

    def _parts(self, parts: tuple[str, ...]) -> DataFrame:
        """Parts of the shards that hold a candidate."""
        return self._shards.where("rows > 0").select("shard", "core", *parts)

    def _mapped(self, run: Callable[[Pieces], Any], parts: tuple[str, ...]) -> DataFrame:
        function = partial(_pickled, run=run)
        return over_batches(self._parts(parts), function, "payload BINARY")

    def _collected(self, run: Callable[[Pieces], Any], parts: tuple[str, ...]) -> list[Any]:
        return [pickle.loads(row["payload"]) for row in self._mapped(run, parts).collect()]

    def close(self) -> None:
        """Free the cached shards."""
        self._shards.unpersist()


def _packed(batches: Batches, *, bits: int, together: Assemble) -> Iterator[pa.RecordBatch]:
    """The shard of a partition: candidates assembled, sorted and packed, a row a piece."""
    held = list(batches)
    if not held:
        return
    records, counts = together(pa.Table.from_batches(held))
    held.clear()
    number = int(records.hash[0]) >> (64 - bits) if bits and records.size else 0
    # With as many candidates in every shard a piece would be a block; it is nearly one.
    as_blocks = max(bits, block_bits(max(1, records.size) << bits))
    pieces = [part for _, part in split(records, as_blocks)] or [records]
    told = [pickle.dumps(counts), pickle.dumps(contents(records)) if records.size else b""]
    for piece in pieces:
        yield _packed_row(number, piece, *told)
        told = [b"", b""]  # of the first piece alone


def _united(batches: Batches, *, bits: int) -> Iterator[pa.RecordBatch]:
    """The shards of a partition as one, a block a piece."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    if not rows:
        return
    parts = [unpack(*(pa.py_buffer(row[name]) for name in PARTS)) for row in rows]
    parts.sort(key=lambda part: part.hash[0])
    number = min(row["shard"] for row in rows)
    for _, block in _blocks(parts, bits):
        yield _packed_row(number, block, b"", b"")  # both are with the driver by now


def _packed_row(shard: int, piece: Records, counts: bytes, told: bytes) -> pa.RecordBatch:
    packed = pack(piece)
    return _row(
        shard=pa.array([shard], pa.int32()),
        rows=[piece.size],
        counts=[counts],
        contents=[told],
        core=[packed.core],
        sketch=[packed.sketch],
        kept=[packed.kept],
    )


def _row(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def _shards(batches: Batches) -> Iterator[Pieces]:
    """The pieces of each shard, with the parts that were selected."""
    for _, pieces in groupby(_opened(batches), key=itemgetter(0)):
        yield (piece for _, piece in pieces)


def _opened(batches: Batches) -> Iterator[tuple[int, Records]]:
    """Each piece, and the number of its shard."""
    for batch in batches:
        for row in range(batch.num_rows):
            parts = {
                name: batch.column(name)[row].as_buffer() if name in batch.schema.names else None
                for name in PARTS
            }
            yield batch.column("shard")[row].as_py(), unpack(**parts)


def _blocks(pieces: Pieces, bits: int) -> Iterator[tuple[int, Records]]:
    """Blocks with their numbers, in order: a piece may hold several, or a part of one."""
    parts = (part for piece in pieces for part in split(piece, bits))
    for number, same in groupby(parts, key=itemgetter(0)):
        yield number, joined([part for _, part in same])


def _pickled(batches: Batches, *, run: Callable[[Pieces], Any]) -> Iterator[pa.RecordBatch]:
    for pieces in _shards(batches):
        yield _row(payload=[pickle.dumps(run(pieces))])


def _each(pieces: Pieces, *, kernel: Kernel[T], bits: int) -> dict[int, T]:
    return {number: kernel(number, block) for number, block in _blocks(pieces, bits)}


def _both(
    pieces: Pieces, *, kernel: Kernel[tuple[S, T]], add: Add[T], bits: int, levels: int
) -> tuple[dict[int, S], dict[int, T]]:
    results = _each(pieces, kernel=kernel, bits=bits)
    sums = fold({index: total for index, (_, total) in results.items()}, levels, add)
    return {index: small for index, (small, _) in results.items()}, sums


def _only_total(index: int, records: Records, *, kernel: Kernel[T]) -> tuple[None, T]:
    return None, kernel(index, records)


def _stored(
    pieces: Pieces, *, kernel: Kernel[pa.Table], store: Callable[[pa.Table], T], bits: int
) -> T:
    return store(pa.concat_tables(_each(pieces, kernel=kernel, bits=bits).values()))


def _tables(batches: Batches, *, kernel: Kernel[pa.Table], bits: int) -> Iterator[pa.RecordBatch]:
    for pieces in _shards(batches):
        for number, block in _blocks(pieces, bits):
            yield from kernel(number, block).to_batches()
