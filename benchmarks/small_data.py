"""What the options for small data are worth: one select with and without them, by size.

    python -m benchmarks.small_data --rows 10000,100000,1000000 --repeats 3

Each run is a process of its own, Spark's start included, as `tenforward select` is one; the two
take turns. CPU seconds are those of Java and Python together.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.cost import Cost, cpu_seconds, middle
from benchmarks.logged_flights import fill, last_day, pipeline
from spark_jobs.select_sample import select_day
from spark_jobs.storage.small_data import JAVA, VARIABLE
from spark_jobs.storage.warehouse import Warehouse


def one(root: Path, rows: int | None) -> None:
    """In a process of its own: fill a warehouse, or select once and print the digest and the CPU
    seconds."""
    if rows is not None:
        fill(root, rows)
        return
    done = select_day(Warehouse(str(root), pipeline()), last_day(), force=True)
    print(json.dumps([done["sample_digest"], cpu_seconds()]))


def ran(root: Path, arm: str, *more: str) -> tuple[float, str]:
    """Seconds of a process of its own, and its last line."""
    environment = {**os.environ, VARIABLE: arm}
    environment.pop(JAVA, None)
    line = [sys.executable, "-m", "benchmarks.small_data", "--one", str(root), *more]
    began = time.perf_counter()
    done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - began, (done.stdout.splitlines() or [""])[-1]


def compared(root: Path, rows: int, repeats: int) -> str:
    """A line of the table: medians without and with the options. Of another digest it is an
    error."""
    ran(root, "auto", "--fill", str(rows))
    costs: dict[str, list[Cost]] = {"no": [], "yes": []}
    digests = set()
    for _ in range(repeats):
        for arm, found in costs.items():
            wall, line = ran(root, arm)
            digest, cpu = json.loads(line)
            digests.add(digest)
            found.append(Cost(wall, cpu))
    assert len(digests) == 1, "the options have changed the sample"
    size = sum(file["bytes"] for name in _tables(root) for file in _files(root, name))
    without, with_ = middle(costs["no"]), middle(costs["yes"])
    return (
        f"{rows:>12,}{size / 1e6:>9.1f} MB{without.wall:>9.1f} s{with_.wall:>9.1f} s"
        f"{with_.wall / without.wall:>7.2f}x{without.cpu:>9.1f} s{with_.cpu:>9.1f} s"
        f"{with_.cpu / without.cpu:>7.2f}x"
    )


def _tables(root: Path) -> list[str]:
    return list(Warehouse(str(root), pipeline()).tables)


def _files(root: Path, name: str) -> list[dict[str, int]]:
    return Warehouse(str(root), pipeline()).files(name)


def main(argv: list[str] | None = None) -> None:
    """Fill warehouses, select in turn, print a line each size."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--rows", default="10000,100000,1000000", help="sizes, separated by commas")
    line.add_argument("--repeats", type=int, default=3)
    line.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    line.add_argument("--fill", type=int, help=argparse.SUPPRESS)
    args = line.parse_args(argv)
    if args.one is not None:
        one(args.one, args.fill)
        return
    folder = Path(tempfile.mkdtemp(prefix="tenforward-bench-"))
    try:
        print(
            f"{'records':>12}{'tables':>12}{'without':>11}{'with':>11}{'':>8}{'CPU':>11}{'with':>11}"
        )
        for rows in map(int, args.rows.split(",")):
            print(compared(folder / str(rows), rows, args.repeats), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
