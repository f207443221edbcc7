"""Blocks of a Spark DataFrame: one narrow shuffle, then each pass runs block by block.

Up to `DRIVER_ROWS` candidates are narrow enough for the driver (some 100 MB): the same kernels run
there, on the same blocks, to the same bits, and no pass costs a Spark job.
"""

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.selection.blocks import ArrowBlocks, Kernel, block_bits, split
from spark_jobs.selection.engine import Selection, select
from spark_jobs.selection.policies import Policy
from spark_jobs.selection.records import Records
from spark_jobs.settle import DRIVER_ROWS

T = TypeVar("T")

_RESULT = (
    "instance_id STRING, event_time TIMESTAMP, model_version STRING, label DOUBLE, loss DOUBLE,"
    " score DOUBLE, probability DOUBLE, probability_negative DOUBLE, probability_positive DOUBLE,"
    " drawn BOOLEAN, weight DOUBLE, offset DOUBLE, position BIGINT"
)


def select_from(
    candidates: DataFrame, policy: Policy, budget: float, seed: int, task: str
) -> Selection:
    """`engine.select` on a DataFrame; the rows of the result are a DataFrame, cached.

    candidates: instance_id, event_time, model_version, prediction, logits, label, segments,
    sketch; one row an instance.
    """
    count = candidates.count()
    if count <= DRIVER_ROWS:
        selection = select(ArrowBlocks(candidates.toArrow(), seed), policy, budget, seed, task)
        return replace(
            selection, rows=candidates.sparkSession.createDataFrame(selection.rows, _RESULT)
        )
    blocks = SparkBlocks(candidates, count, seed)
    selection = select(blocks, policy, budget, seed, task)
    rows = selection.rows.persist()
    rows.count()  # computed while the blocks are still cached
    blocks.close()
    return replace(selection, rows=rows)


class SparkBlocks:
    """Implements `selection.blocks.Blocks`; the shuffled candidates stay cached until `close`."""

    def __init__(self, candidates: DataFrame, count: int, seed: int) -> None:
        self.count = count
        self._seed = seed
        self._bits = block_bits(count)
        hashed = F.xxhash64("instance_id", F.lit(seed).cast("bigint"))
        # The shift is unsigned, as in `selection.blocks.block_of`; by 64 it would be by 0.
        block = F.shiftrightunsigned(hashed, 64 - self._bits) if self._bits else F.lit(0)
        self._blocked = candidates.repartition(block).persist()

    def summarise(self, kernel: Kernel[T]) -> dict[int, T]:
        """One small result a block, in block order."""
        seed, bits = self._seed, self._bits

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for index, records in _blocks(batches, seed, bits):
                payload = pickle.dumps(kernel(index, records))
                yield pa.RecordBatch.from_pydict({"block": [index], "payload": [payload]})

        collected = self._blocked.mapInArrow(run, "block BIGINT, payload BINARY").collect()
        # Pickled by our own executors and sent over Spark's channel, as Spark does with any result.
        results = {row["block"]: pickle.loads(row["payload"]) for row in collected}
        return dict(sorted(results.items()))

    def rows(self, kernel: Kernel[pa.Table]) -> DataFrame:
        """One table a block, as a DataFrame."""
        seed, bits = self._seed, self._bits

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for index, records in _blocks(batches, seed, bits):
                yield from kernel(index, records).to_batches()

        return self._blocked.mapInArrow(run, _RESULT)

    def close(self) -> None:
        """Free the cached candidates."""
        self._blocked.unpersist()


def _blocks(
    batches: Iterable[pa.RecordBatch], seed: int, bits: int
) -> Iterator[tuple[int, Records]]:
    held = list(batches)
    if held:
        table = pa.Table.from_batches(held)
        if table.num_rows:
            yield from split(table, seed, bits)
