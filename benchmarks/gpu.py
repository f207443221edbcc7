"""What a fit costs on a GPU: rows a second, the share of the time waiting for data, peak memory.

    python -m benchmarks.gpu --out FOLDER

Three models, through the trainer's own reader and fit, on random rows: the flights' and MNIST's
own networks, and an embedding of ten million rows. Each with its sample resident on the GPU and
streamed from files, in fp32 and in bf16; resident in fp32 also kernel by kernel, where a fit would
otherwise try its steps as a CUDA graph (trainer/fitting/graphed.py). A round measures every fit
once, in order: at least three rounds, and up to five where they end within `--seconds`; FOLDER has
the figures after each. Without a GPU nothing is measured, but `--device cpu` goes through all of it
at a tiny size.
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.random_rows import written
from schemas.pipeline import Pipeline, Task, load_pipeline
from schemas.sections.training import Training
from trainer.data.refresh import FILE_GROUP_ROWS
from trainer.data.sample import Kept, Sample, Streamed, read_packed
from trainer.data.survey import survey_of
from trainer.fitting import graphed
from trainer.fitting.fit import fit
from trainer.models.model import SketchedNetwork, build_model, model_card, standardise
from trainer.processes.ranks import Ranks

FLIGHTS, MNIST = "pipelines/flights.toml", "pipelines/mnist.toml"
PRECISIONS = ("fp32", "bf16")
RESIDENT = 0  # in place of a number of readers
MOST_FILES, MOST_ROUNDS = 16, 5
WIDTH = 64  # of the embedding
WARM_STEPS = 4


class Size(NamedTuple):
    """Fits of one model."""

    batch_size: int
    rows: int
    epochs: int
    readers: Sequence[int]  # of the streamed sample; or RESIDENT


# Batches as in the pipeline files, and such as keep a GPU busy; each fit takes a few seconds.
SIZES: Mapping[str, Sequence[Size]] = {
    "flights": (Size(16, 32_000, 1, (RESIDENT, 2)), Size(4096, 2_000_000, 4, (RESIDENT, 2, 8))),
    "convolutional": (Size(16, 32_000, 1, (RESIDENT, 2)), Size(4096, 60_000, 12, (RESIDENT, 2, 8))),
    "embeddings": (Size(4096, 1_000_000, 2, (RESIDENT, 2)),),
}


class Limits(NamedTuple):
    """What no fit is larger than; those of a CPU only go through all of it."""

    rows: int = sys.maxsize
    epochs: int = sys.maxsize
    table: int = 10_000_000  # rows of the embedding


TINY = Limits(2_000, 1, 10_000)


class Case(NamedTuple):
    """What every round measures, by name, and how."""

    model: str
    batch_size: int
    rows: int
    epochs: int
    sample: str
    precision: str
    steps: str


class Measured(NamedTuple):
    """What one fit took."""

    rows_per_second: float  # from the first step to the last
    share_waiting: float  # of that time
    peak_megabytes: float  # of the GPU's memory
    seconds: float  # of the whole call: with the model's ways there and back, and the intercept


class Job(NamedTuple):
    """All that a fit needs."""

    model: SketchedNetwork
    sample: Sample
    task: Task
    settings: Training
    mean_weight: float
    warm_steps: int = graphed.WARM_STEPS  # before a graph is tried


def pipeline_of(model: str, table: int) -> Pipeline:
    """The pipeline of a model. Its files are decoded by pyarrow, which is wherever torch is."""
    arrow = {"training.reader": "arrow"}
    if model == "embeddings":
        crossed = {
            "name": "benchmarks.crossed:network",
            "sketch_layer": "layers",
            "settings": {"rows": table, "width": WIDTH},
        }
        return load_pipeline(FLIGHTS, arrow | {"model": crossed})
    return load_pipeline(FLIGHTS if model == "flights" else MNIST, arrow)


def jobs_of(name: str, folder: Path, limits: Limits) -> dict[Case, Job]:
    """The fits of one model. Each goes on with the weights of the one before, at the same cost."""
    pipeline = pipeline_of(name, limits.table)
    model = build_model(model_card(pipeline, "bench", pipeline.labels.classes or 1), 1)
    jobs = {}
    for size in SIZES[name]:
        rows, epochs = min(size.rows, limits.rows), min(size.epochs, limits.epochs)
        place = folder / f"{name}-{size.batch_size}"
        place.mkdir()
        refresh = written(place, pipeline, rows, min(MOST_FILES, max(1, rows // FILE_GROUP_ROWS)))
        packed = read_packed(pipeline, refresh)
        survey = survey_of(Kept(packed, refresh.group_sizes).parts(), pipeline.task)
        standardise(model, survey)
        for precision, readers in product(PRECISIONS, size.readers):
            changed = {"batch_size": size.batch_size, "epochs": epochs, "precision": precision}
            settings = pipeline.training.model_copy(update=changed | {"readers": readers or 1})
            own = pipeline.model_copy(update={"training": settings})
            where = f"streamed, {readers} readers" if readers else "resident"
            sample = Streamed(own, refresh) if readers else Kept(packed, refresh.group_sizes)
            case = Case(name, size.batch_size, rows, epochs, where, precision, "as it is")
            jobs[case] = Job(model, sample, pipeline.task, settings, survey.mean_weight)
            if precision == "fp32" and not readers:
                slow = case._replace(steps="kernel by kernel")
                jobs[slow] = jobs[case]._replace(warm_steps=sys.maxsize)
    return jobs


def measured(job: Job, ranks: Ranks) -> Measured:
    """One fit, with nothing else on the GPU."""
    model, sample, task, settings, mean_weight, graphed.WARM_STEPS = job
    if isinstance(sample, Kept):  # anew: it keeps what it has brought to the GPU
        sample = Kept(sample.rows, sample.group_sizes)
    on_gpu = ranks.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(ranks.device)
    began = time.perf_counter()
    told = fit(model, sample, task, settings, ranks=ranks, mean_weight=mean_weight).metrics()
    return Measured(
        told["rows_per_second"],
        told["share_waiting"],
        torch.cuda.max_memory_allocated(ranks.device) / 1e6 if on_gpu else 0.0,
        time.perf_counter() - began,
    )


def warm_up(job: Job, ranks: Ranks) -> None:
    """A few steps, so that no round loads kernels."""
    if isinstance(job.sample, Kept):
        few = job.sample.rows.part(0, WARM_STEPS * job.settings.batch_size)
        measured(job._replace(sample=Kept(few, [len(few)])), ranks)


def figures(rounds: Mapping[Case, Sequence[Measured]]) -> list[dict[str, Any]]:
    """A row a case: of each figure the median, the least and the greatest."""
    found = []
    for case, of in rounds.items():
        row: dict[str, Any] = case._asdict() | {"rounds": len(of)}
        for name, values in zip(Measured._fields, zip(*of, strict=True), strict=True):
            row |= {name: statistics.median(values)}
            row |= {f"{name}_least": min(values), f"{name}_greatest": max(values)}
        found.append(row)
    return found


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The figures for a page: medians, and the rows a second of all rounds."""
    lines = [
        "| model | batch | sample | precision | steps | rows/s | of the rounds | ms a step"
        " | waiting | peak GPU MB | whole fit, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        rate, batch = row["rows_per_second"], row["batch_size"]
        least, greatest = row["rows_per_second_least"], row["rows_per_second_greatest"]
        lines.append(
            f"| {row['model']} | {batch:,} | {row['sample']} | {row['precision']} | {row['steps']}"
            f" | {rate:,.0f}"
            f" | {least:,.0f} to {greatest:,.0f} | {batch / rate * 1e3:.2f}"
            f" | {row['share_waiting']:.1%} | {row['peak_megabytes']:,.0f}"
            f" | {row['seconds']:.1f} |"
        )
    return "\n".join(lines)


def write_out(out: Path, machine: str, found: Sequence[dict[str, Any]]) -> None:
    """The figures as JSON, as CSV and as a table of a page."""
    out.mkdir(parents=True, exist_ok=True)
    whole = {"machine": machine, "figures": found}
    (out / "gpu.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    with (out / "gpu.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    (out / "gpu.txt").write_text(f"{machine}\n\n{table(found)}\n", encoding="utf-8")


def measure(jobs: Mapping[Case, Job], ranks: Ranks, args: argparse.Namespace, machine: str) -> None:
    """Round after round; what is known is written after each."""
    for job in jobs.values():
        warm_up(job, ranks)
    began, number = time.perf_counter(), 0
    rounds: dict[Case, list[Measured]] = {case: [] for case in jobs}
    while True:
        for case, job in jobs.items():
            rounds[case].append(measured(job, ranks))
            print(*case, *(f"{x:.4g}" for x in rounds[case][-1]), sep=", ", file=sys.stderr)
        number += 1
        if args.out:
            write_out(args.out, machine, figures(rounds))
        spent = time.perf_counter() - began
        more = number < MOST_ROUNDS and spent * (number + 1) / number < args.seconds
        if number >= args.rounds and not more:
            break
    print(f"{machine}; medians of {number} rounds\n\n{table(figures(rounds))}")


def main(argv: list[str] | None = None) -> None:
    """Make rows and models, measure, print."""
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("--rows", type=int, help="of a sample, at most")
    line.add_argument("--rounds", type=int, default=3, help="at least")
    line.add_argument("--seconds", type=float, default=200, help="for more rounds")
    line.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    line.add_argument("--out", type=Path, help="a folder for the figures")
    args = line.parse_args(argv)
    tiny = args.device == "cpu"
    if not tiny and not torch.cuda.is_available():
        print("no GPU here: nothing measured on one")
        return
    device = torch.device("cpu") if tiny else torch.device("cuda", 0)
    name = "the CPU, at a tiny size" if tiny else torch.cuda.get_device_name(device)
    limits = TINY if tiny else Limits()
    limits = limits._replace(rows=args.rows or limits.rows)
    with tempfile.TemporaryDirectory(prefix="tenforward-gpu-") as folder:
        jobs: dict[Case, Job] = {}
        for model in SIZES:
            jobs |= jobs_of(model, Path(folder), limits)
        measure(jobs, Ranks(device=device), args, f"{name}; torch {torch.__version__}")


if __name__ == "__main__":
    main()
