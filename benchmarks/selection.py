"""What choosing costs: the whole select job against the same job with `rand() < k / N`.

Both read the same tables, find the newest record and label of each instance, and write the same
tables: every candidate with its probability, the drawn rows with their features, the manifest. The
baseline is what one would write in Spark SQL, and looks at no prediction and no sketch.

    python -m benchmarks.selection --rows 20000000 --repeats 3
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from pyspark.sql import functions as F

from benchmarks.logged_flights import PIPELINE, fill, last_day
from schemas.pipeline import Pipeline
from spark_jobs.refresh import write_refresh
from spark_jobs.select_sample import candidates_of, held_out_rows, plan_refresh, select_day
from spark_jobs.warehouse import Warehouse
from tests.slow_candidates import candidates

BUDGET = 0.1
CONF = "--driver-memory 8g --conf spark.sql.shuffle.partitions=16"
BASELINE = "rand() < k/N"
# One design each on the same scores, so that designs are compared and not scores.
ARMS: dict[str, dict[str, object]] = {
    "poisson": {"policy": "grad-norm", "design": "poisson"},
    "systematic": {"policy": "grad-norm"},
    "systematic, calibrated": {"policy": "grad-norm", "calibrated": True},
    "cube": {"policy": "balanced"},
    "mean-match": {"policy": "obftf"},
    "calibrated (default)": {"policy": "calibrated"},
}


def configured(**selection: object) -> Pipeline:
    """The bench pipeline with some settings of its selection changed."""
    changed = PIPELINE.selection.model_copy(update=selection)
    return PIPELINE.model_copy(update={"selection": changed})


def ours(warehouse: Warehouse, settings: dict[str, object]) -> None:
    """The select job."""
    select_day(replace(warehouse, pipeline=configured(**settings)), last_day(), force=True)


def random_filter(warehouse: Warehouse) -> None:
    """The same job whose selection is `rand() < k / N`."""
    plan = replace(plan_refresh(warehouse, last_day()), refresh_id="random")
    records, labels, _ = candidates_of(warehouse, plan)
    found = candidates(records, labels, "label", plan.cut)
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
    total, chosen = rows.agg(F.count("*"), F.count_if("drawn")).first()
    place = F.when(F.col("drawn"), F.floor(F.rand(8) * chosen)).otherwise(-1).cast("bigint")
    placed = rows.withColumn("position", place)
    report = {"candidates": total, "drawn": chosen}
    write_refresh(
        warehouse,
        plan,
        lambda drawn_only: placed.where("drawn") if drawn_only else placed,
        held_out_rows(warehouse, plan, labels),
        report,
        digest="",
        rejected=0,
    )
    rows.unpersist()


def plain_sample(warehouse: Warehouse) -> None:
    """For information: Spark's own sample of the records, as they are, written and no more."""
    records = warehouse.read("forward_records").sample(BUDGET, seed=7)
    records.write.mode("overwrite").parquet(warehouse.path("plain"))


def measured(job: Callable[[], None]) -> float:
    """Seconds of one run."""
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def jobs(warehouse: Warehouse) -> dict[str, Callable[[], None]]:
    """What is measured, by name."""
    arms = {name: partial(ours, warehouse, settings) for name, settings in ARMS.items()}
    return {
        BASELINE: partial(random_filter, warehouse),
        **arms,
        "df.sample(0.1).write": partial(plain_sample, warehouse),
    }


def shown(times: dict[str, list[float]], rows: int) -> str:
    """The table: median, spread and ratio to the baseline's median."""
    floor = statistics.median(times[BASELINE])
    repeats = len(times[BASELINE])
    lines = [
        f"{rows:,} records, budget {BUDGET}, {repeats} runs each in turn, {os.cpu_count()} cores",
        f"{'':<24}{'median':>9}{'spread':>18}{'ratio':>8}",
    ]
    for name, runs in times.items():
        middle = statistics.median(runs)
        spread = f"[{min(runs):.1f}, {max(runs):.1f}]"
        lines.append(f"{name:<24}{middle:>7.1f} s{spread:>18}{middle / floor:>7.2f}x")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Fill a warehouse, run every job in turn, print the table."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--rows", type=int, default=20_000_000)
    line.add_argument("--repeats", type=int, default=3)
    line.add_argument("--arms", help="names, separated by ;")
    line.add_argument("--warehouse", type=Path, help="keep it here, and use it if it is there")
    args = line.parse_args(argv)
    # The driver is the executor too; it caches the shards, and Spark reads this when it starts.
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", f"{CONF} pyspark-shell")
    folder = args.warehouse or Path(tempfile.mkdtemp(prefix="tenforward-bench-"))
    try:
        began = time.perf_counter()
        warehouse = Warehouse(str(folder), PIPELINE)
        if not (folder / "generated" / "_SUCCESS").exists():
            warehouse = fill(folder, args.rows)
        print(f"filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        wanted = jobs(warehouse)
        if args.arms:
            wanted = {name: wanted[name] for name in [BASELINE, *args.arms.split(";")]}
        for job in list(wanted.values())[:2]:  # Java compiles for minutes: not at the first's cost
            job()
        times: dict[str, list[float]] = {name: [] for name in wanted}
        for _ in range(args.repeats):
            for name, job in wanted.items():
                times[name].append(measured(job))
                print(f"{name}: {times[name][-1]:.1f} s", file=sys.stderr, flush=True)
        print(shown(times, args.rows))
    finally:
        if args.warehouse is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
