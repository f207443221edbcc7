"""What distributing costs: one select job on a standalone cluster of 1, 2 and 4 executors.

    python -m benchmarks.cluster --rows 2000000 --repeats 5

The cluster is on this machine, one core an executor, so four executors on two cores show what
processes of their own cost and not what they gain. In the last line one of two executors is stopped
for half of all time. Each line is a cluster of its own: a selection of few rows, then the one that
is measured; every line must have the same digest.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from benchmarks.cost import cpu_seconds, looked_at, meanwhile
from benchmarks.logged_flights import fill, last_day, pipeline
from benchmarks.selection import ARMS, WARM_ROWS, configured
from reference.standalone import BIN, Cluster, below, standalone
from spark_jobs.select_sample import select_day
from spark_jobs.storage.small_data import VARIABLE
from spark_jobs.storage.warehouse import Warehouse

MEMORY = "1g"  # of an executor
POLICY = "calibrated (default)"
# As on a cluster: code is compiled, and compiled well.
LARGE = f"""
spark.driver.memory              2g
spark.executor.memory            {MEMORY}
spark.sql.shuffle.partitions     16
# As between machines: on one, executors would read one another's files.
spark.shuffle.readHostLocalDisk  false
"""
BEGUN = "begun"  # what the driver says when the measured job begins


class Line(NamedTuple):
    """A line of the table."""

    name: str
    executors: int
    slowed: bool = False


LINES = (
    Line("1 executor", 1),
    Line("2 executors", 2),
    Line("4 executors", 4),
    Line("2, one of them slowed", 2, slowed=True),
)


def drive(root: Path, rows: int) -> None:
    """In a driver: select few rows, say so, select all of them; the digest on the last line."""
    for size in (WARM_ROWS, rows):
        if size == rows:
            print(BEGUN, flush=True)
        warehouse = Warehouse(str(root / str(size)), configured(pipeline(), ARMS[POLICY]))
        done = select_day(warehouse, last_day(), force=True)
    print(json.dumps(done["sample_digest"]), flush=True)


class Measured(NamedTuple):
    """One run of a line: its digest, seconds, gigabytes written for a shuffle and read from another
    executor."""

    digest: str
    seconds: float
    cpu: float
    written: float
    remote: float


def measured(line: Line, root: Path, rows: int) -> Measured:
    """A cluster of its own, on which few rows are selected, then all."""
    with (
        tempfile.TemporaryDirectory(prefix="tenforward-cluster-") as folder,
        standalone(Path(folder), line.executors, MEMORY, LARGE) as cluster,
    ):
        command = [str(BIN / "spark-submit"), "--properties-file", str(cluster.properties)]
        command += ["--conf", f"spark.executorEnv.PYTHONPATH={Path.cwd()}"]
        command += [__file__, "--drive", str(root), "--rows", str(rows)]
        environment = os.environ | {VARIABLE: "no", "PYTHONPATH": str(Path.cwd())}
        environment |= {"PYSPARK_PYTHON": sys.executable}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as job:
            assert job.stdout is not None
            said = iter(job.stdout.readline, "")
            _until(said, lambda text: text.strip() == BEGUN)
            moment, began, used = time.time(), time.perf_counter(), cpu_seconds()
            with looked_at(cpu_seconds), slowed(cluster) if line.slowed else nullcontext():
                digest = _until(said, lambda text: text.startswith('"'))
                seconds = time.perf_counter() - began
            used = cpu_seconds() - used
        return Measured(json.loads(digest), seconds, used, *_moved(cluster, moment))


def shown(line: Line, runs: Sequence[Measured]) -> str:
    """Medians, and the spread of the seconds."""
    seconds, cpu, written, remote = (
        statistics.median(column) for column in list(zip(*runs, strict=True))[1:]
    )
    spread = f"[{min(run.seconds for run in runs):.1f}, {max(run.seconds for run in runs):.1f}]"
    return (
        f"{line.name:<24}{seconds:>9.1f}{spread:>18}{cpu:>9.1f}{written:>8.2f} GB{remote:>11.2f} GB"
    )


def _until(said: Iterator[str], wanted: Callable[[str], bool]) -> str:
    for text in said:
        if wanted(text):
            return text
    raise SystemExit("the driver ended without a result; see above")


def _moved(cluster: Cluster, since: float) -> tuple[float, float]:
    """Gigabytes that the tasks since then wrote for a shuffle and read from another executor."""
    metrics = [
        event["Task Metrics"]
        for event in cluster.events()
        if event["Event"] == "SparkListenerTaskEnd"
        and event.get("Task Metrics")
        and event["Task Info"]["Launch Time"] >= 1000 * since
    ]
    written = sum(one["Shuffle Write Metrics"]["Shuffle Bytes Written"] for one in metrics)
    remote = sum(one["Shuffle Read Metrics"]["Remote Bytes Read"] for one in metrics)
    return written / 1e9, remote / 1e9


def slowed(cluster: Cluster, half_s: float = 0.05) -> AbstractContextManager[None]:
    """One executor and its Python processes stand still for half of all time."""

    def pause() -> None:
        first = cluster.executors()[0]
        tree = [first, *below(first)]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in tree:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:  # it has ended
                    continue
            if number == signal.SIGSTOP:
                time.sleep(half_s)

    return meanwhile(pause, half_s)


def main(argv: list[str] | None = None) -> None:
    """Fill warehouses, run each line, print the table."""
    line = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    line.formatter_class = argparse.RawDescriptionHelpFormatter
    line.add_argument("--rows", type=int, default=2_000_000)
    line.add_argument("--repeats", type=int, default=1)
    line.add_argument("--warehouse", type=Path, help="keep them here, and use what is there")
    line.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    line.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    args = line.parse_args(argv)
    if args.drive is not None:
        return drive(args.drive, args.rows)
    if args.fill is not None:  # in a process of its own, whose session ends with it
        for size in {WARM_ROWS, args.rows}:
            fill(args.fill / str(size), size)
        return None
    root = args.warehouse or Path(tempfile.mkdtemp(prefix="tenforward-bench-"))
    try:
        itself = [sys.executable, "-m", "benchmarks.cluster", "--rows", str(args.rows)]
        subprocess.run(
            [*itself, "--fill", str(root)], check=True, env=os.environ | {VARIABLE: "no"}
        )
        found: dict[Line, list[Measured]] = {one: [] for one in LINES}
        for _ in range(args.repeats):
            for one, runs in found.items():
                runs.append(measured(one, root, args.rows))
                print(shown(one, runs), file=sys.stderr, flush=True)
        print(f"{args.rows:,} records, {POLICY}, {args.repeats} rounds, {os.cpu_count()} cores")
        print(f"{'':<24}{'seconds':>9}{'spread':>18}{'CPU':>9}{'shuffled':>11}{'from another':>14}")
        print("\n".join(shown(one, runs) for one, runs in found.items()))
        digests = {run.digest for runs in found.values() for run in runs}
        assert len(digests) == 1, "the cluster has changed the sample"
    finally:
        if args.warehouse is None:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
