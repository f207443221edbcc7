"""Runs the cells of the study that are not there yet, the most important first.

    python -m benchmarks.study.run --part development
    python -m benchmarks.study.run --part confirmation --seeds 8

A cell (data set, arm, amount) is tuned on earlier days, then run with every seed; its lines are
written when it is done, so that a run that was killed goes on where it was.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks.study.arms import (
    AMOUNTS,
    Arm,
    policy_arms,
    reference_arms,
    stepped_arm,
    uniform_arm,
    variants,
)
from benchmarks.study.equal import equal_amount, needed
from benchmarks.study.loop import Places, Settings, closed_loop, first_model, places_of
from benchmarks.study.parts import (
    ALL,
    AMOUNT,
    DEFAULT,
    EQUAL,
    FROZEN,
    PARTS,
    STEPPED,
    UNIFORM,
    UNTUNED,
)
from benchmarks.study.store import RESULTS, TUNING, Cell, Line, add, cells, lines_of, read
from benchmarks.study.stream import Stream
from benchmarks.study.streams import STREAMS
from benchmarks.study.tuned import read_tuning
from benchmarks.study.tuning import Tried, tune

FOLDER = Path("docs/study")
# Of every data set before any other arm; the second confirmation has no other.
FIRST = (UNIFORM, ALL, DEFAULT, STEPPED, FROZEN)
# A process each on a core of its own: with more threads they would wait for one another.
THREADS = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def arms_of(stream: Stream, part: str) -> dict[str, Arm]:
    """The arms of a data set by name; with those that development alone tries, and without the
    record step where that came after the part had been opened."""
    task = stream.pipeline.task
    found = [
        *reference_arms(),
        *(variants(task) if part == "development" else []),
        *policy_arms(task),
        *([] if part == "confirmation" else [stepped_arm(task)]),
    ]
    return {arm.name: arm for arm in found if part != "second" or arm.name in FIRST}


def planned(args: argparse.Namespace) -> Iterator[Cell]:
    """Every cell in order of importance: one in ten first, and of every data set what all other
    arms stand beside."""
    data = args.data or PARTS[args.part]
    arms = {one: arms_of(loaded(one, args.inputs)[0], args.part) for one in data}
    for amount in sorted(args.amounts, key=lambda one: (one != AMOUNT, one)):
        for first in (True, False):
            for one in data:
                for name, arm in arms[one].items():
                    if (name in FIRST) == first and (not args.arms or name in args.arms):
                        yield Cell(one, name, arm.amount(amount))


@lru_cache(maxsize=1)  # cells come by data set, and one takes up to a gigabyte
def loaded(name: str, folder: Path) -> tuple[Stream, Places]:
    """A stream and its arrays."""
    stream = STREAMS[name](folder)
    return stream, places_of(stream)


class Work(NamedTuple):
    """A cell to run. amount: the cell's own, but of equal seconds what these pay for. settings:
    those of another arm; None where the cell's own are tuned."""

    cell: Cell
    amount: float
    settings: Settings | None = None


def run(work: Work, seeds: int, folder: Path) -> tuple[Work, list[Line], list[Tried], float]:
    """A cell's lines for both files, and its seconds."""
    began, (cell, amount, settings) = time.perf_counter(), work
    stream, places = loaded(cell.data, folder)
    arms = arms_of(stream, stream.part)
    arm = {**arms, EQUAL: uniform_arm(), UNTUNED: arms[DEFAULT]}[cell.arm]
    grid: list[Tried] = []
    if arm.name == FROZEN:
        settings = Settings(1, 1e-3, stream.step)
    elif settings is None:
        settings, grid = tune(stream, places, arm, amount)
    lines: list[Line] = []
    for seed in range(seeds):
        first = first_model(stream, places, stream.days, seed)
        found = closed_loop(stream, places, arm, amount, settings, first, stream.days, seed)
        lines += lines_of(cell, seed, [one for one in found if one.day >= stream.judged])
    return work, lines, grid, time.perf_counter() - began


def main(argv: list[str] | None = None) -> None:
    """Run what is missing."""
    line = argparse.ArgumentParser(prog="python -m benchmarks.study.run", description=__doc__)
    line.formatter_class = argparse.RawDescriptionHelpFormatter
    line.add_argument("--part", choices=sorted(PARTS), required=True)
    line.add_argument("--data", nargs="*", default=[], help="these data sets alone")
    line.add_argument("--arms", nargs="*", default=[], help="these arms alone")
    line.add_argument("--amounts", nargs="*", type=float, default=list(AMOUNTS))
    line.add_argument("--seeds", type=int, default=8)
    line.add_argument("--processes", type=int, default=2)
    line.add_argument("--folder", type=Path, default=FOLDER)
    line.add_argument("--inputs", type=Path, default=Path("data"))
    args = line.parse_args(argv)
    os.environ |= THREADS
    there = cells(read(args.folder / RESULTS))
    todo = [cell for cell in dict.fromkeys(planned(args)) if cell not in there]
    print(f"{len(todo)} cells to run, {len(there)} there", file=sys.stderr, flush=True)
    run_all([Work(cell, cell.amount) for cell in todo], args)
    run_all([*of_uniforms_settings(args), *of_equal_seconds(args)], args)


def of_uniforms_settings(args: argparse.Namespace) -> Iterator[Work]:
    """What is missing of the default at the settings that uniform was tuned to, where it was."""
    asked = not args.arms or UNTUNED in args.arms
    if not asked or not (args.folder / TUNING).exists():
        return
    there = cells(read(args.folder / RESULTS))
    chosen = {
        (trial.data, trial.amount): trial.setting
        for trial in read_tuning(args.folder / TUNING)
        if trial.arm == UNIFORM and trial.chosen
    }
    for (data, amount), setting in chosen.items():
        cell = Cell(data, UNTUNED, amount)
        wanted = data in (args.data or PARTS[args.part]) and amount in args.amounts
        if wanted and cell not in there:
            yield Work(cell, amount, Settings(*setting))


def of_equal_seconds(args: argparse.Namespace) -> Iterator[Work]:
    """What is missing of uniform at the seconds of the judged arm, where both have run."""
    lines = read(args.folder / RESULTS)
    there = cells(lines)
    for data in args.data or PARTS[args.part]:
        cell = Cell(data, EQUAL, AMOUNT)
        if cell not in there and there.issuperset(needed(data)):
            yield Work(cell, equal_amount(lines, data))


def run_all(todo: Sequence[Work], args: argparse.Namespace) -> None:
    """Run the cells, several at a time; each is written when it is done."""
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        running = [pool.submit(run, work, args.seeds, args.inputs) for work in todo]
        for number, done in enumerate(as_completed(running), 1):
            (cell, amount, _), lines, grid, seconds = done.result()
            add(args.folder, lines, grid)
            told = f"{cell.data}, {cell.arm} at {amount:.3g}: {seconds:.0f} s"
            print(f"{number}/{len(todo)} {told}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
