"""The benchmarks at a small size: jobs beside one baseline, for `make bench-check`.

What is measured is what each benchmark measures, by its own functions. Two have no baseline to
stand beside and are not here: `calibration` asks how good a sample is, `sizing` counts bytes. The
exact optimum and R's samplecube, beside which `kernels` shows its own, take ten seconds a run; here
it is the slow designs in NumPy against which the tests hold the kernels.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from benchmarks import draw, kernels, recorder, selection, training
from benchmarks.cost import Clock, cpu_seconds
from benchmarks.logged_flights import fill, records
from benchmarks.random_rows import written
from inference.recording.usable import usable
from reference.plain_tables import record_tables
from reference.slow_designs import slow_flight, slow_swaps
from spark_jobs.selection.arrays import Array
from spark_jobs.storage.warehouse import Warehouse

G = TypeVar("G")


@dataclass(frozen=True)
class Benchmark(Generic[G]):
    """Jobs that are given the same input as their baseline."""

    given: Callable[[Path], G]  # makes the input, in an empty folder
    baseline: Callable[[G], object]
    jobs: dict[str, Callable[[G], object]]
    rounds: int = 7
    cpu: Clock = time.process_time  # the CPU seconds so far


class Walk(NamedTuple):
    """Probabilities (n,) and columns (n, p) of a flight."""

    pi: Array
    columns: Array


def slow_walk(walk: Walk) -> None:
    """The same flight, in NumPy."""
    slow_flight(walk.pi, walk.columns, np.arange(walk.pi.size), 0)


def slow_groups(given: kernels.Groups) -> None:
    """The same swaps, in NumPy."""
    for group, loss in enumerate(given.loss):
        slow_swaps(loss, given.stratum, given.start, group)


def reading(folder: Path) -> training.Given:
    """Files to train from."""
    pipeline = training.flights()
    return training.given(pipeline, written(folder, pipeline, 500_000, training.FILES))


class Requests(NamedTuple):
    """Rows to record, in tables of their own each time."""

    folder: Path
    rows: pa.Table  # as they are stored

    def tables(self) -> Path:
        """Where new tables are; a copy of empty ones, which costs less than to make some."""
        root = self.folder / str(time.monotonic_ns())
        shutil.copytree(self.folder / "empty", root)
        return root


def requests(folder: Path) -> Requests:
    """Rows in one frame."""
    record_tables(folder / "empty")
    return Requests(folder, usable(recorder.request(40_000)[1], "plain"))


def one_append(given: Requests) -> None:
    """All rows, already made, in one append."""
    recorder.appended(given.tables(), given.rows)


def in_requests(size: int, given: Requests) -> None:
    """All rows in requests of so many, from `record` to the table."""
    asked, _ = recorder.request(size)
    recorder.recorded(given.tables(), asked, given.rows.num_rows // size)


def logged(folder: Path) -> Warehouse:
    """Records enough to be selected by Spark, not by the driver."""
    selection.configure_spark()
    return fill(folder, 250_000)


BENCHMARKS: dict[str, Benchmark[Any]] = {
    "cube": Benchmark(
        given=lambda folder: Walk(*kernels.expanded(1_000)),
        baseline=slow_walk,
        jobs={"flight": lambda walk: kernels.flown(walk.pi, walk.columns, walk.pi.size)},
    ),
    "mean-match": Benchmark(
        given=lambda folder: kernels.groups(5),
        baseline=slow_groups,
        jobs={"swaps": kernels.all_matched},
    ),
    "draw": Benchmark(
        given=lambda folder: records(200_000),
        baseline=draw.bernoulli,
        jobs=dict(draw.JOBS),
    ),
    "training": Benchmark(
        given=reading,
        baseline=training.JOBS[training.RAW],
        jobs={name: job for name, job in training.JOBS.items() if name != training.RAW},
    ),
    "recorder": Benchmark(
        given=requests,
        baseline=one_append,
        jobs={f"requests of {size:,}": partial(in_requests, size) for size in (1, 512)},
    ),
    "select": Benchmark(
        given=logged,
        baseline=selection.random_filter,
        jobs={name: partial(selection.ours, settings) for name, settings in selection.ARMS.items()},
        rounds=4,
        cpu=cpu_seconds,
    ),
}
