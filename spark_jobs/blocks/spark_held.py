"""One result a block, cached by the executors: what calibration asks again and again.

A question's answers are added up where they are, in the order of `selection.tree`. With many shards
they meet on a few executors first, so what comes to the driver does not grow with the records.
"""

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_jobs.selection.blocks import Add, Held
from spark_jobs.selection.tree import fold
from spark_jobs.storage.python_tasks import Batches, over_batches

S = TypeVar("S")
T = TypeVar("T")

TOGETHER_BITS = 6  # the answers of at most 2^6 shards come to the driver, or to one executor

_ANSWER = "shard INT, payload BINARY"


class HeldInSpark(Held[S]):
    """Results of each block, cached by the executors.

    payloads: a row a shard, a pickled dictionary by block, made by our own executors.
    """

    def __init__(self, payloads: DataFrame, bits: int, shard_bits: int) -> None:
        self._payloads, self._bits, self._shard_bits = payloads, bits, shard_bits

    def total(self, kernel: Callable[[S], T], add: Add[T]) -> T:
        """The results of a function of each, added up."""
        run = partial(_answers, kernel=kernel, add=add, levels=self._bits - self._shard_bits)
        answers, bits = over_batches(self._payloads, run, _ANSWER), self._shard_bits
        while bits > TOGETHER_BITS:
            group = F.shiftright("shard", TOGETHER_BITS)
            bits -= TOGETHER_BITS
            met = answers.repartitionById(1 << bits, group)
            together = partial(_added, add=add, levels=TOGETHER_BITS)
            answers = over_batches(met, together, _ANSWER)
        shards = {row["shard"]: pickle.loads(row["payload"]) for row in answers.collect()}
        return fold(shards, bits, add)[0]

    def close(self) -> None:
        """Let go of them."""
        self._payloads.unpersist()


def _answers(
    batches: Batches, *, kernel: Callable[[S], T], add: Add[T], levels: int
) -> Iterator[pa.RecordBatch]:
    """The answer of each shard."""
    for batch in batches:
        for payload in batch.column(0):
            values = {index: kernel(one) for index, one in pickle.loads(payload.as_py()).items()}
            yield from _rows(fold(values, levels, add))


def _added(batches: Batches, *, add: Add[T], levels: int) -> Iterator[pa.RecordBatch]:
    """The answers of a partition's shards as one."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    yield from _rows(
        fold({row["shard"]: pickle.loads(row["payload"]) for row in rows}, levels, add)
    )


def _rows(answers: dict[int, Any]) -> Iterator[pa.RecordBatch]:
    for shard, answer in answers.items():
        columns = {"shard": pa.array([shard], pa.int32()), "payload": [pickle.dumps(answer)]}
        yield pa.RecordBatch.from_pydict(columns)
