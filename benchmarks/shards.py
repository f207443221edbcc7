"""What the cut into shards costs: few and many of them, and one of ten times as many rows.

    python -m benchmarks.shards --rows 2000000 --repeats 3

One select job (systematic) on the same records, cut into 4 shards to 1,024, which must draw the
same sample (far more than the candidates call for are put together, as ever); then on as many
records in 16 of which the first has ten times the rows of each other.
Seconds, CPU of Java and Python together, and the most memory that one Python process had, looked at
ten times a second.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.cost import Cost, cpu_seconds, meanwhile, measured, middle
from benchmarks.logged_flights import fill, last_day, pipeline
from benchmarks.selection import ARMS, WARM_ROWS, configure_spark, configured
from reference.standalone import below
from spark_jobs.blocks import spark_blocks
from spark_jobs.refresh.plan import refresh_seed
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse

POLICY = "systematic"
BITS = (2, 4, 6, 10)  # of the number of shards
SKEWED_BITS, TIMES = 4, 10
LOOK_S = 0.1


@dataclass
class Line:
    """A line of the table: what is selected from, in how many shards, and what it cost."""

    name: str
    warehouse: Warehouse
    bits: int
    costs: list[Cost] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)

    def run(self) -> None:
        """One more round."""
        told: list[dict[str, Any]] = []

        def job() -> None:
            told.append(select_day(self.warehouse, last_day(), force=True))

        called_for, first = spark_blocks.shard_bits, iter([self.bits])  # asked first for the cut
        met = [0.0]  # of every Python process below this one, as often as it was looked at

        def look() -> None:
            met.extend(_megabytes(pid) for pid in below(os.getpid()))

        with (
            patch.object(spark_blocks, "shard_bits", lambda rows: next(first, called_for(rows))),
            meanwhile(look, LOOK_S),
        ):
            self.costs.append(measured(job, cpu_seconds))
        self.megabytes.append(max(met))
        self.digests.add(told[0]["sample_digest"])

    def shown(self) -> str:
        """Medians."""
        wall, cpu = middle(self.costs)
        least, most = min(c.wall for c in self.costs), max(c.wall for c in self.costs)
        memory = statistics.median(self.megabytes)
        spread = f"[{least:.1f}, {most:.1f}]"
        return f"{self.name:<36}{wall:>8.1f} s{spread:>18}{cpu:>9.1f} s{memory:>9.0f} MB"


def _megabytes(pid: int) -> float:
    """Of memory that a process of Python has; 0 where it is another program, or has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    told = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    python = told.get("Name", "").startswith("python")
    return int(told["VmRSS"].split()[0]) / 1e3 if python and "VmRSS" in told else 0.0


def skewed(spark: SparkSession, rows: int, seed: int) -> DataFrame:
    """About so many numbers, whose flights' ids fill the first shard ten times as much."""
    shards = 1 << SKEWED_BITS
    numbers = spark.range(0, rows * shards * TIMES // (shards - 1 + TIMES), 1, 16)
    name = F.concat(F.lit("flight-"), F.col("id").cast("string"))
    hashed = F.xxhash64(name, F.lit(seed).cast("bigint"))
    first = F.shiftrightunsigned(hashed, 64 - SKEWED_BITS) == 0
    return numbers.where(first | (F.pmod(F.xxhash64("id"), F.lit(TIMES)) == 0))


def lines_of(folder: Path, rows: int, bits: tuple[int, ...]) -> list[Line]:
    """The warehouses and what is measured on each."""
    even = fill(folder / "even", rows).root
    spark = Warehouse(even, pipeline()).spark
    as_measured = configured(pipeline(), ARMS[POLICY])
    seed = refresh_seed(as_measured, last_day())
    uneven = fill(folder / "skewed", rows, numbers=skewed(spark, rows, seed)).root
    places = {"even": Warehouse(even, as_measured), "skewed": Warehouse(uneven, as_measured)}
    lines = [Line(f"{1 << one:,} shards", places["even"], one) for one in bits]
    of = f"{1 << SKEWED_BITS} shards"
    uneven_line = f"{of}, the first of {TIMES} times the rows"
    return [*lines, Line(uneven_line, places["skewed"], SKEWED_BITS)]


def main(argv: list[str] | None = None) -> None:
    """Fill, measure in turn, print."""
    line = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=__doc__)
    line.formatter_class = argparse.RawDescriptionHelpFormatter
    line.add_argument("--rows", type=int, default=2_000_000)
    line.add_argument("--repeats", type=int, default=3)
    line.add_argument("--bits", type=int, nargs="*", default=BITS, help="of the number of shards")
    args = line.parse_args(argv)
    configure_spark()
    folder = Path(tempfile.mkdtemp(prefix="tenforward-bench-"))
    try:
        few = fill(folder / "few", WARM_ROWS)
        Line("warm", few, SKEWED_BITS).run()
        lines = lines_of(folder, args.rows, tuple(args.bits))
        for _ in range(args.repeats):
            for one in lines:
                one.run()
                print(one.shown(), file=sys.stderr, flush=True)
        print(f"{args.rows:,} records, {POLICY}, {args.repeats} rounds, {os.cpu_count()} cores")
        print("\n".join(one.shown() for one in lines))
        even = set().union(*(one.digests for one in lines[:-1]))
        assert len(even) == 1, "the number of shards has changed the sample"
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
