"""Blocks of a Spark DataFrame: one narrow shuffle, then each pass runs block by block."""

import pickle
from collections.abc import Iterator
from typing import TypeVar

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.selection.blocks import Kernel, block_bits, split

T = TypeVar("T")

_RESULT = (
    "instance_id STRING, event_time TIMESTAMP, model_version STRING, label DOUBLE, loss DOUBLE,"
    " score DOUBLE, probability DOUBLE, probability_negative DOUBLE, probability_positive DOUBLE,"
    " drawn BOOLEAN, weight DOUBLE, offset DOUBLE, position BIGINT"
)


class SparkBlocks:
    """Implements `selection.blocks.Blocks`; the candidates stay cached until `close`."""

    def __init__(self, candidates: DataFrame, seed: int) -> None:
        cached = candidates.persist()
        self.count = cached.count()
        self._seed = seed
        self._bits = block_bits(self.count)
        if self._bits == 0:
            self._blocked, self._cached = cached.coalesce(1), [cached]
            return
        # The shift is unsigned, as in `selection.blocks.block_of`.
        block = F.shiftrightunsigned(
            F.xxhash64("instance_id", F.lit(seed).cast("bigint")), 64 - self._bits
        )
        self._blocked = cached.repartition(block).persist()
        self._cached = [cached, self._blocked]

    def summarise(self, kernel: Kernel[T]) -> dict[int, T]:
        """One small result a block, in block order."""
        seed, bits = self._seed, self._bits

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for index, records in _blocks(batches, seed, bits):
                payload = pickle.dumps(kernel(index, records))
                yield pa.record_batch({"block": [index], "payload": [payload]})

        collected = self._blocked.mapInArrow(run, "block BIGINT, payload BINARY").collect()
        # Pickled by our own executors and sent over Spark's channel, as Spark does with any result.
        results = {row["block"]: pickle.loads(row["payload"]) for row in collected}
        return dict(sorted(results.items()))

    def rows(self, kernel: Kernel[pa.Table]) -> DataFrame:
        """One table a block, as a DataFrame."""
        seed, bits = self._seed, self._bits

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for index, records in _blocks(batches, seed, bits):
                yield from kernel(index, records).to_batches()

        return self._blocked.mapInArrow(run, _RESULT)

    def close(self) -> None:
        """Free the cached candidates."""
        for frame in self._cached:
            frame.unpersist()


def _blocks(batches: Iterator[pa.RecordBatch], seed: int, bits: int) -> Iterator:
    held = list(batches)
    if held:
        table = pa.Table.from_batches(held)
        if table.num_rows:
            yield from split(table, seed, bits)
