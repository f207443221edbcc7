"""What choosing costs: the whole select job against the same job with `rand() < k / N`.

Both read the same tables, make the same checks of ids, dates and coverage, find the newest record
and label of each instance, and write the same tables: every candidate with its probability, the
drawn rows with their features, the hold-out, the manifest. The baseline is what one would write in
Spark SQL, and reads no sketch. A second one makes no checks, which is less than the job does.

    python -m benchmarks.selection --rows 20000000 --repeats 2 --growth
    python -m benchmarks.selection --rows 2000000 --wide

`--growth` runs each arm on a tenth of the rows as well; `--wide` compares with and without
calibration where the segments give it some 150 columns. Each round runs every arm once; before the
first, every arm has run on few rows. CPU seconds are those of Java and Python together.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from pyspark.sql import functions as F

from benchmarks.cost import Cost, cpu_seconds, middle, rounds
from benchmarks.logged_flights import SEGMENTS, WIDE_SEGMENTS, fill, last_day
from reference.slow_candidates import candidates
from reference.slow_census import census
from schemas.manifests import Decided
from schemas.pipeline import Pipeline
from spark_jobs.candidates.window import held_out_rows, window_of
from spark_jobs.refresh.plan import plan_refresh
from spark_jobs.refresh.write import Draft, write_refresh
from spark_jobs.select_sample import select_day
from spark_jobs.storage.small_data import VARIABLE
from spark_jobs.storage.warehouse import Warehouse

BUDGET = 0.1
# Spark keeps 100 pieces of generated code; the arms have more, and would compile each other's anew.
CONF = (
    "--driver-memory 8g --conf spark.sql.shuffle.partitions=16"
    " --conf spark.sql.codegen.cache.maxEntries=2000"
)
WARM_ROWS = 400_000  # enough to be selected by Spark, not by the driver
BASELINE = "rand() < k/N"
UNCHECKED = "the same, no checks"
PLAIN = "df.sample(0.1).write"
# One design each on the same scores, so that designs are compared and not scores.
ARMS: dict[str, dict[str, object]] = {
    "poisson": {"policy": "grad-norm", "design": "poisson"},
    "systematic": {"policy": "grad-norm"},
    "cube": {"policy": "balanced"},
    "mean-match": {"policy": "obftf"},
    "calibrated (default)": {"policy": "calibrated"},
}
WIDE_ARMS: dict[str, dict[str, object]] = {
    "systematic": {"policy": "grad-norm"},
    "systematic, calibrated": {"policy": "grad-norm", "calibrated": True},
}


def configure_spark() -> None:
    """Settings of the session, before it starts: the driver is the executor too, and caches."""
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", f"{CONF} pyspark-shell")
    os.environ.setdefault(VARIABLE, "no")  # the tables are empty when the session starts


def configured(pipeline: Pipeline, settings: dict[str, object]) -> Pipeline:
    """The pipeline with some settings of its selection changed."""
    changed = pipeline.selection.model_copy(update=settings)
    return pipeline.model_copy(update={"selection": changed})


def ours(settings: dict[str, object], warehouse: Warehouse) -> None:
    """The select job."""
    changed = replace(warehouse, pipeline=configured(warehouse.pipeline, settings))
    select_day(changed, last_day(), force=True)


def random_filter(warehouse: Warehouse, *, checks: bool = True) -> None:
    """The same job whose selection is `rand() < k / N`."""
    plan = replace(plan_refresh(warehouse, last_day()), refresh_id="random")
    window = window_of(warehouse, plan, model_versions=None)
    read = ("instance_id", "event_time", "model_version", "batch_id", "recorded_at", "prediction")
    records = window.records.select(*read)
    if checks:
        answered = window.asked.records.select("instance_id")
        checked = census(window.asked.instances, records, answered, window.labels)
        assert not checked.repeated, "the tables of a benchmark are sound"
        records = checked.records
    found = candidates(records, window.labels, "label", plan.cut)
    softplus = F.log1p(F.exp(-F.abs("prediction"))) + F.greatest("prediction", F.lit(0.0))
    drawn = F.rand(7) < BUDGET
    rows = (
        found.withColumn("drawn", drawn)
        .select(
            "instance_id",
            "event_time",
            "model_version",
            "label",
            (softplus - F.col("label") * F.col("prediction")).alias("loss"),
            F.lit(1.0).alias("score"),
            F.lit(BUDGET).alias("probability"),
            F.lit(None).cast("double").alias("probability_negative"),
            F.lit(None).cast("double").alias("probability_positive"),
            "drawn",
            F.col("drawn").cast("double").alias("weight"),
            F.lit(0.0).alias("offset"),
        )
        .persist()
    )
    [(total, chosen)] = rows.agg(F.count("*"), F.count_if("drawn")).collect()
    place = F.when(F.col("drawn"), F.floor(F.rand(8) * chosen)).otherwise(-1).cast("bigint")
    placed = rows.withColumn("position", place)
    report = {"candidates": total, "drawn": chosen}
    draft = Draft(placed.where("drawn"), placed, report, "", Decided(str(BUDGET), engine=0))
    write_refresh(warehouse, plan, draft, held_out_rows(warehouse, plan, window.labels))
    rows.unpersist()


def plain_sample(warehouse: Warehouse) -> None:
    """For information: Spark's own sample of the records, as they are, written and no more."""
    records = warehouse.read("forward_records").sample(BUDGET, seed=7)
    records.write.mode("overwrite").parquet(warehouse.path("plain"))


def arms(wide: bool, wanted: str | None) -> dict[str, Callable[[Warehouse], None]]:
    """What is measured, by name; the first is what the others are compared with."""
    named = WIDE_ARMS if wide else ARMS
    found: dict[str, Callable[[Warehouse], None]]
    found = {name: partial(ours, settings) for name, settings in named.items()}
    if wide:
        return found
    beside: dict[str, Callable[[Warehouse], None]]
    beside = {BASELINE: random_filter, UNCHECKED: partial(random_filter, checks=False)}
    every = {**beside, **found, PLAIN: plain_sample}
    return every if wanted is None else {name: every[name] for name in wanted.split(";")}


def costs_of(
    jobs: dict[str, Callable[[Warehouse], None]], kept: dict[int, Warehouse], repeats: int
) -> list[dict[str, list[Cost]]]:
    """The costs of each job, one a round: a table for each size, which take turns in the rounds."""
    runs = {
        f"{name}, {rows:,} records": partial(job, warehouse)
        for name, job in jobs.items()
        for rows, warehouse in kept.items()
    }
    costs = rounds(runs, repeats, cpu_seconds)
    return [{name: costs[f"{name}, {rows:,} records"] for name in jobs} for rows in kept]


def shown(costs: dict[str, list[Cost]], rows: int) -> str:
    """The table: medians, spread, and ratios to the first line's."""
    first = middle(next(iter(costs.values())))
    repeats = len(next(iter(costs.values())))
    lines = [
        f"{rows:,} records, budget {BUDGET}, {repeats} runs each in turn, {os.cpu_count()} cores",
        f"{'':<24}{'median':>9}{'spread':>18}{'ratio':>8}{'CPU':>11}{'ratio':>8}",
    ]
    for name, runs in costs.items():
        wall, cpu = middle(runs)
        least, most = min(run.wall for run in runs), max(run.wall for run in runs)
        lines.append(
            f"{name:<24}{wall:>7.1f} s{f'[{least:.1f}, {most:.1f}]':>18}{wall / first.wall:>7.2f}x"
            f"{cpu:>9.1f} s{cpu / first.cpu:>7.2f}x"
        )
    return "\n".join(lines)


def growth(large: dict[str, list[Cost]], small: dict[str, list[Cost]]) -> str:
    """How many times the time and CPU of a tenth of the rows."""
    lines = ["ten times the rows take so many times the seconds, wall and CPU:"]
    for name in large:
        much, little = middle(large[name]), middle(small[name])
        lines.append(f"{name:<24}{much.wall / little.wall:>7.2f}x{much.cpu / little.cpu:>7.2f}x")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Fill warehouses, run every job in turn, print the tables."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--rows", type=int, default=20_000_000)
    line.add_argument("--repeats", type=int, default=3)
    line.add_argument("--growth", action="store_true", help="on a tenth of the rows as well")
    kind = line.add_mutually_exclusive_group()
    kind.add_argument("--arms", help="names, separated by ;")
    kind.add_argument("--wide", action="store_true", help="calibration on some 150 columns")
    line.add_argument("--warehouse", type=Path, help="keep them here, and use what is there")
    args = line.parse_args(argv)
    configure_spark()
    folder = args.warehouse or Path(tempfile.mkdtemp(prefix="tenforward-bench-"))
    segments = WIDE_SEGMENTS if args.wide else SEGMENTS
    sizes = [args.rows, args.rows // 10] if args.growth else [args.rows]
    try:
        began = time.perf_counter()
        kept = {
            rows: fill(folder / f"{rows}-{len(segments)}", rows, segments)
            for rows in {WARM_ROWS, *sizes}
        }
        print(f"filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        jobs = arms(args.wide, args.arms)
        # Java compiles for minutes: not at the first's cost.
        costs_of(jobs, {WARM_ROWS: kept[WARM_ROWS]}, 1)
        tables = costs_of(jobs, {rows: kept[rows] for rows in sizes}, args.repeats)
        for rows, table in zip(sizes, tables, strict=True):
            print(shown(table, rows))
        if args.growth:
            print(growth(*tables))
    finally:
        if args.warehouse is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
