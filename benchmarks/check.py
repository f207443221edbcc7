"""`make bench-check`: is anything slower beside its baseline than the committed ratios say?

    python -m benchmarks.check [--only NAME]... [--rounds N] [--update]

Runs every benchmark of `benchmarks/small.py`: some rounds, each of them the baseline and then every
job, so that both meet the same machine. The ratios of each round are compared with those of
`benchmarks/ratios.json` (`benchmarks/verdict.py` says how). Exits 1 where a job is slower. Commit
new figures from a machine that does nothing else.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cost import rounds
from benchmarks.small import BENCHMARKS, Benchmark
from benchmarks.verdict import SLOWER, TOLERANCES, Line, Ratio, lines, ratio, table
from schemas.command import run_command
from schemas.errors import ConfigurationError
from schemas.log import about, log
from trainer.processes.threads import one_thread

RATIOS = Path(__file__).with_name("ratios.json")
AT_LEAST = 0.25  # seconds of each measurement: CPU is counted in hundredths
BASELINE = "baseline"

Ratios = dict[str, dict[str, Ratio]]  # by job and clock


def read_ratios() -> dict[str, dict[str, Any]]:
    """The committed figures: by benchmark its cores, date, rounds and the ratios of its jobs."""
    return json.loads(RATIOS.read_text(encoding="utf-8")) if RATIOS.exists() else {}


def write_ratios(figures: dict[str, dict[str, Any]]) -> None:
    """Sorted, so that a difference shows what changed."""
    text = json.dumps(figures, indent=2, sort_keys=True)
    RATIOS.write_text(text + "\n", encoding="utf-8")


def measure(benchmark: Benchmark[Any], count: int) -> Ratios:
    """The ratios of each job over so many rounds, after one that is not counted."""
    with tempfile.TemporaryDirectory(prefix="tenforward-bench-") as folder:
        given = benchmark.given(Path(folder))
        everything = {BASELINE: benchmark.baseline, **benchmark.jobs}
        jobs = {name: partial(job, given) for name, job in everything.items()}
        rounds(jobs, 1, benchmark.cpu)
        costs = rounds(jobs, count, benchmark.cpu, AT_LEAST)
    return {
        job: {clock: ratio(costs[job], costs[BASELINE], clock) for clock in TOLERANCES}
        for job in benchmark.jobs
    }


def figures(found: Ratios, count: int) -> dict[str, Any]:
    """What is committed of a benchmark."""
    jobs = {
        job: {clock: one._asdict() for clock, one in clocks.items()}
        for job, clocks in found.items()
    }
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return {"cores": os.cpu_count(), "date": today, "rounds": count, "jobs": jobs}


def require_committed(names: Sequence[str], committed: dict[str, dict[str, Any]]) -> None:
    """Refuse, before anything is measured, to check what has no figures."""
    for name in names:
        absent = BENCHMARKS[name].jobs.keys() - committed.get(name, {}).get("jobs", {}).keys()
        if absent:
            raise ConfigurationError(
                f"benchmarks/ratios.json has no figures of {sorted(absent)[0]!r} of {name!r}."
                f" Remedy: python -m benchmarks.check --only {name} --update"
            )
        if (cores := committed[name]["cores"]) != os.cpu_count():
            log.warning("%s: committed on %d cores, these are %d", name, cores, os.cpu_count())


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="python -m benchmarks.check",
        description="Measure small sizes of the benchmarks against the committed ratios.",
    )
    line.add_argument(
        "--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS)
    )
    line.add_argument("--rounds", type=int, metavar="N", help="instead of each one's own number")
    line.add_argument("--update", action="store_true", help="write benchmarks/ratios.json")
    return line


def outcome(compared: Sequence[Line]) -> dict[str, Any]:
    """The result of the command."""
    slow = [one for one in compared if one.verdict == SLOWER]
    ratios: dict[str, Any] = {}
    for one in compared:
        clocks = ratios.setdefault(one.benchmark, {}).setdefault(one.job, {})
        clocks[one.clock] = {**one.now._asdict(), "verdict": one.verdict}
    return {
        "status": "slower" if slow else "done",
        "exit_code": 1 if slow else 0,
        "slower": [f"{one.benchmark}: {one.job}, {one.clock}" for one in slow],
        "ratios": ratios,
    }


@one_thread()  # of torch, as in benchmarks/training.py
def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> measurements -> the table, and the figures where they are asked for."""
    args = parser().parse_args(argv)
    if args.rounds is not None and args.rounds < 1:
        raise ConfigurationError(f"--rounds = {args.rounds}: too few. Remedy: give at least 1.")
    committed = read_ratios()
    names = [name for name in BENCHMARKS if name in (args.only or BENCHMARKS)]
    if not args.update:
        require_committed(names, committed)
    compared: list[Line] = []
    new = {name: one for name, one in committed.items() if name in BENCHMARKS}
    for name in names:
        count = args.rounds or BENCHMARKS[name].rounds
        log.info("%s: %d jobs, %d rounds", name, len(BENCHMARKS[name].jobs), count)
        found = measure(BENCHMARKS[name], count)
        compared += lines(name, found, committed.get(name, {}).get("jobs", {}))
        new[name] = figures(found, count)
        if args.update:
            write_ratios(new)  # an interrupted run keeps what it measured
    about()  # no longer a refresh, as the select job said
    print(table(compared), file=sys.stderr)
    if args.update:
        return {**outcome(compared), "status": "updated", "exit_code": 0}
    return outcome(compared)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
