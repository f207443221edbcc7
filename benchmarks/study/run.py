"""Runs the cells of the study that are not there yet, the most important first.

    python -m benchmarks.study.run --part development
    python -m benchmarks.study.run --part confirmation --seeds 8

A cell (data set, arm, amount) is tuned on earlier days, then run with every seed; its lines are
written when it is done, so that a run that was killed goes on where it was.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from benchmarks.study.arms import ALL, AMOUNTS, FROZEN, UNIFORM, Arm, policy_arms, reference_arms, variants
from benchmarks.study.loop import Places, Settings, closed_loop, first_model, places_of
from benchmarks.study.store import RESULTS, Cell, Line, add, cells, lines_of, read
from benchmarks.study.stream import Stream
from benchmarks.study.streams import PARTS, STREAMS
from benchmarks.study.tuning import Tried, tune

FOLDER = Path("docs/study")
FIRST = (UNIFORM, ALL, "calibrated", FROZEN)  # of every data set before any other arm


def arms_of(stream: Stream, *, tried: bool) -> dict[str, Arm]:
    """The arms of a data set by name; with those that development alone tries."""
    task = stream.pipeline.task
    found = [*reference_arms(), *policy_arms(task), *(variants(task) if tried else [])]
    return {arm.name: arm for arm in found}


def planned(data: Sequence[str], amounts: Sequence[float], arms: Sequence[str], tried: bool, folder: Path) -> Iterator[Cell]:
    """Every cell in order of importance: one in ten first, and there what all others stand beside."""
    names = {one: list(arms_of(loaded(one, folder)[0], tried=tried)) for one in data}
    for amount in sorted(amounts, key=lambda one: (one != 0.1, one)):
        for chosen in (FIRST, None):
            for one in data:
                for arm in names[one]:
                    if (arm in FIRST) == (chosen is not None) and (not arms or arm in arms):
                        fixed = {ALL: 1.0, FROZEN: 0.0}
                        yield Cell(one, arm, fixed.get(arm, amount))


@cache
def loaded(name: str, folder: Path) -> tuple[Stream, Places]:
    """A stream and its arrays, once a process."""
    stream = STREAMS[name](folder)
    return stream, places_of(stream)


def run(cell: Cell, seeds: int, folder: Path, tried: bool) -> tuple[Cell, list[Line], list[Tried], float]:
    """A cell's lines for both files, and its seconds."""
    began = time.perf_counter()
    stream, places = loaded(cell.data, folder)
    arm = arms_of(stream, tried=tried)[cell.arm]
    if arm.name == FROZEN:
        settings, grid = Settings(1, 1e-3, stream.step), []
    else:
        settings, grid = tune(stream, places, arm, cell.amount)
    lines: list[Line] = []
    for seed in range(seeds):
        first = first_model(stream, places, stream.days, seed)
        found = closed_loop(stream, places, arm, cell.amount, settings, first, stream.days, seed)
        lines += lines_of(cell, seed, [one for one in found if one.day >= stream.judged])
    return cell, lines, grid, time.perf_counter() - began


def main(argv: list[str] | None = None) -> None:
    """Run what is missing."""
    line = argparse.ArgumentParser(prog="python -m benchmarks.study.run", description=__doc__)
    line.formatter_class = argparse.RawDescriptionHelpFormatter
    line.add_argument("--part", choices=sorted(PARTS))
    line.add_argument("--data", nargs="*", default=[], help="these data sets alone")
    line.add_argument("--arms", nargs="*", default=[], help="these arms alone")
    line.add_argument("--amounts", nargs="*", type=float, default=list(AMOUNTS))
    line.add_argument("--seeds", type=int, default=8)
    line.add_argument("--processes", type=int, default=2)
    line.add_argument("--folder", type=Path, default=FOLDER)
    line.add_argument("--inputs", type=Path, default=Path("data"))
    args = line.parse_args(argv)
    data = args.data or PARTS[args.part]
    tried = args.part == "development"
    there = cells(read(args.folder / RESULTS))
    todo = [
        cell
        for cell in dict.fromkeys(planned(data, args.amounts, args.arms, tried, args.inputs))
        if cell not in there
    ]
    print(f"{len(todo)} cells to run, {len(there)} there", file=sys.stderr, flush=True)
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        running = [pool.submit(run, cell, args.seeds, args.inputs, tried) for cell in todo]
        for number, done in enumerate(as_completed(running), 1):
            cell, lines, grid, seconds = done.result()
            add(args.folder, lines, grid)
            print(f"{number}/{len(todo)} {cell.data} {cell.arm} {cell.amount:g}: {seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
