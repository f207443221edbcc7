"""What a task of Spark's Python workers costs that does nothing: as Spark runs it, and as we do.

    python -m benchmarks.python_tasks --tasks 256 --repeats 5

Both count the rows of cached partitions of a hundred. Each has Python workers of its own: whoever
shared them would find them as the other leaves them. CPU of Java and Python together.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame

from benchmarks.cost import cpu_seconds, middle, rounds
from benchmarks.selection import configure_spark
from spark_jobs.storage.python_tasks import over_batches
from spark_jobs.storage.session import spark_session

ROWS = 100  # of a task
FORM = "rows BIGINT"
WAYS: dict[str, Callable[..., DataFrame]] = {
    "rows.mapInArrow": DataFrame.mapInArrow,
    "over_batches": over_batches,
}


def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of a task."""
    yield pa.RecordBatch.from_pydict({"rows": [sum(batch.num_rows for batch in batches)]})


def job(rows: DataFrame, name: str) -> None:
    """One pass over the tasks, in the workers of this way: they are known by their environment."""
    rows.sparkSession.sparkContext.environment["TENFORWARD_BENCHMARK_WORKERS"] = name
    told = WAYS[name](rows, counted, FORM).collect()
    assert {row["rows"] for row in told} == {ROWS}


def main(argv: list[str] | None = None) -> None:
    """Measure in turn, print."""
    line = argparse.ArgumentParser(prog="python -m benchmarks.python_tasks", description=__doc__)
    line.formatter_class = argparse.RawDescriptionHelpFormatter
    line.add_argument("--tasks", type=int, default=256)
    line.add_argument("--repeats", type=int, default=5)
    args = line.parse_args(argv)
    configure_spark()
    spark = spark_session("benchmark")
    rows = spark.range(0, ROWS * args.tasks, 1, args.tasks).persist()
    jobs = {name: partial(job, rows, name) for name in WAYS}
    rounds(jobs, 1, cpu_seconds)
    costs = rounds(jobs, args.repeats, cpu_seconds)
    print(f"{args.tasks} tasks of {ROWS} rows, {args.repeats} rounds, {os.cpu_count()} cores")
    for name, found in costs.items():
        wall, cpu = middle(found)
        least, most = min(one.wall for one in found), max(one.wall for one in found)
        print(
            f"{name:<20}{wall:>7.2f} s [{least:.2f}, {most:.2f}]"
            f"{1e3 * cpu / args.tasks:>9.1f} ms of CPU a task"
        )


if __name__ == "__main__":
    main()
