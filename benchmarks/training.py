"""What the reader costs: rows a second against raw Arrow, the wait for data, memory over epochs.

All on the same generated files, one process, one thread of torch:

    python -m benchmarks.training --rows 2000000
"""

import argparse
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pyarrow.parquet as pq
import torch

from benchmarks.cost import measured, middle
from benchmarks.random_rows import written
from schemas.pipeline import Pipeline, load_pipeline
from schemas.sections.training import Training
from schemas.tables import sampled
from trainer.data.refresh import Refresh
from trainer.data.sample import Kept, Sample, Streamed, read_packed
from trainer.data.survey import survey_of
from trainer.fitting.fit import fit
from trainer.models.model import SketchedNetwork, build_model, model_card, standardise
from trainer.processes.ranks import Ranks
from trainer.processes.threads import one_thread

PIPELINE = "pipelines/flights.toml"
FILES, RUNS = 16, 5


def raw(refresh: Refresh, pipeline: Pipeline) -> Iterator[torch.Tensor]:
    """The files' columns as tensors by pyarrow alone: no count, no order, no batches."""
    names = list(sampled(pipeline).reader_fields)
    for file in refresh.sampled:
        table = pq.read_table(file.path, columns=names, use_threads=False, partitioning=None)
        for name in names:
            yield torch.from_numpy(table[name].to_numpy().copy())


class Given(NamedTuple):
    """A refresh to read, and its sample streamed and in memory."""

    pipeline: Pipeline
    refresh: Refresh
    streamed: Streamed
    memory: Kept


def flights() -> Pipeline:
    """The flights, in larger batches than theirs."""
    return load_pipeline(PIPELINE, {"training.batch_size": 4096})


def given(pipeline: Pipeline, refresh: Refresh) -> Given:
    """The refresh, read once into memory."""
    return Given(pipeline, refresh, Streamed(pipeline, refresh), kept(pipeline, refresh))


def by_arrow(given: Given) -> Streamed:
    """The stream without Petastorm."""
    settings = given.pipeline.training.model_copy(update={"reader": "arrow"})
    return Streamed(given.pipeline.model_copy(update={"training": settings}), given.refresh)


def epoch(sample: Sample, pipeline: Pipeline) -> int:
    """The rows of an epoch's batches, asked for one after the other."""
    return sum(len(batch.label) for batch in sample.epoch(1, pipeline.training, Ranks()))


RAW = "raw Arrow to tensors"
JOBS: dict[str, Callable[[Given], object]] = {
    RAW: lambda given: sum(len(column) for column in raw(given.refresh, given.pipeline)),
    "every file group read and counted": lambda given: sum(map(len, given.streamed.parts())),
    "a streamed epoch of batches": lambda given: epoch(given.streamed, given.pipeline),
    "the same, read by pyarrow alone": lambda given: epoch(by_arrow(given), given.pipeline),
    "an epoch of batches in memory": lambda given: epoch(given.memory, given.pipeline),
}


def throughput(given: Given) -> None:
    """Rows a second, raw and by the reader, from files and in memory."""
    rows, pipeline = given.refresh.drawn, given.pipeline
    costs = {
        name: middle([measured(partial(job, given)) for _ in range(RUNS)])
        for name, job in JOBS.items()
    }
    floor, batch = costs[RAW], pipeline.training.batch_size
    print(f"{rows:,} rows of {len(pipeline.features)} features, batches of {batch}")
    print(f"{'':<36}{'M rows/s':>9}{'to raw':>8}{'M rows/CPU s':>14}{'to raw':>8}")
    for name, took in costs.items():
        print(
            f"{name:<36}{rows / took.wall / 1e6:>9.2f}{floor.wall / took.wall:>7.2f}x"
            f"{rows / took.cpu / 1e6:>14.2f}{floor.cpu / took.cpu:>7.2f}x"
        )


def kept(pipeline: Pipeline, refresh: Refresh) -> Kept:
    """The same sample in memory."""
    return Kept(read_packed(pipeline, refresh), refresh.group_sizes)


def resident_megabytes() -> float:
    """Memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def told_by(
    model: SketchedNetwork,
    sample: Sample,
    settings: Training,
    weight: float,
    epochs: int,
    seed: int,
) -> Mapping[str, float]:
    """What a fit of so many epochs tells of itself."""
    own = settings.model_copy(update={"epochs": epochs, "seed": seed})
    return fit(model, sample, "binary", own, ranks=Ranks(), mean_weight=weight).metrics()


def training(pipeline: Pipeline, refresh: Refresh, epochs: int) -> None:
    """The share of a fit spent waiting for data, in fits of one epoch and in one of several, and
    the memory after each fit of one."""
    for keep in ("stream", "memory"):
        sample: Sample = Streamed(pipeline, refresh)
        if keep == "memory":
            sample = kept(pipeline, refresh)
        model = build_model(model_card(pipeline, "bench", 1), 1)
        survey = survey_of(sample.parts(), "binary")
        standardise(model, survey)

        fitted = partial(told_by, model, sample, pipeline.training, survey.mean_weight)
        ones, held = [], []
        for number in range(epochs):
            ones.append(fitted(1, number + 1))
            held.append(resident_megabytes())
        several = fitted(epochs, 1)
        rate, waits = ([one[name] for one in ones] for name in ("rows_per_second", "share_waiting"))
        print(
            f"{keep}: {median(rate):,.0f} rows/s, {median(waits):.1%} of the time waiting"
            f" ({min(waits):.1%} to {max(waits):.1%}) in {epochs} fits of one epoch,"
            f" {several['share_waiting']:.1%} in one of {epochs};"
            f" memory after fit 1, {epochs // 2} and {epochs}:"
            f" {held[0]:.0f}, {held[epochs // 2 - 1]:.0f}, {held[-1]:.0f} MB"
        )


@one_thread()
def main(argv: list[str] | None = None) -> None:
    """Write the files, measure, print."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--rows", type=int, default=2_000_000)
    line.add_argument("--fit-rows", type=int, default=300_000)
    line.add_argument("--epochs", type=int, default=20)
    args = line.parse_args(argv)
    pipeline = flights()
    with tempfile.TemporaryDirectory() as folder:
        refresh = written(Path(folder), pipeline, args.rows, FILES)
        throughput(given(pipeline, refresh))
    with tempfile.TemporaryDirectory() as folder:
        training(pipeline, written(Path(folder), pipeline, args.fit_rows, FILES), args.epochs)


if __name__ == "__main__":
    main()
