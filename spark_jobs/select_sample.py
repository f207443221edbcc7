"""Select: candidates of a window -> probabilities, sampled rows, manifest.

    spark-submit --py-files dist/tenforward.zip spark_jobs/select_sample.py \\
        --pipeline pipelines/flights.toml --ds 2013-02-01
"""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.command import add_common_arguments, parse_date, require_over, run_command
from schemas.errors import DataQualityError, NoDataError
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.candidates import held_out, in_window, labelled, labels_as_of, usable
from spark_jobs.refresh import RefreshPlan, manifest, write_refresh
from spark_jobs.rejects import reject
from spark_jobs.selection.policies import policy_for
from spark_jobs.settle import settle
from spark_jobs.spark_blocks import select_from
from spark_jobs.warehouse import Warehouse

log = logging.getLogger("tenforward")


def refresh_id(pipeline: Pipeline, ds: date) -> str:
    """The name of a refresh: its day, its policy and the configuration that decides the sample."""
    return f"{ds}-{pipeline.selection.policy}-{pipeline.selection_digest()[:8]}"


def refresh_seed(pipeline: Pipeline, ds: date) -> int:
    """The seed of one refresh, 1 to 2^53: another day draws anew."""
    text = f"{pipeline.name}/{pipeline.selection.seed}/{ds}"
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % ((1 << 53) - 1)


def plan_refresh(warehouse: Warehouse, ds: date) -> RefreshPlan:
    """Everything that decides the refresh of a day, table versions included."""
    pipeline = warehouse.pipeline
    views = [f"features/{view.name}" for view in pipeline.feature_views]
    read = ["forward_records", "labels", "instances", *views]
    return RefreshPlan(
        refresh_id=refresh_id(pipeline, ds),
        ds=ds,
        window_start=ds - timedelta(days=pipeline.selection.window_days - 1),
        cut=datetime.combine(ds + timedelta(days=1), time(), UTC),
        policy=pipeline.selection.policy,
        seed=refresh_seed(pipeline, ds),
        versions={name: warehouse.version(name) for name in read},
    )


def select_day(warehouse: Warehouse, ds: date, *, force: bool = False) -> dict[str, Any]:
    """Select the refresh of a day, unless it is there; the result of the command.

    `force` makes it anew from the tables as they are now, in place of the old one.
    """
    pipeline = warehouse.pipeline
    policy = policy_for(pipeline.selection.policy, pipeline.task)
    warehouse.require(*warehouse.tables)
    done = manifest(warehouse, refresh_id(pipeline, ds))
    if done is not None and not force:
        return result(warehouse, "already done", done)
    plan = plan_refresh(warehouse, ds)
    records, labels = _inputs(warehouse, plan)
    rejected = _refuse_bad(warehouse, plan, records)
    good = records.where(usable() & F.col("label").isNotNull())
    selection = select_from(good, policy, pipeline.selection.budget, plan.seed, pipeline.task)
    kept = _held_out(warehouse, plan, labels)
    entry = write_refresh(
        warehouse, plan, selection.rows, kept, selection.report, selection.digest, rejected
    )
    selection.rows.unpersist()
    records.unpersist()
    return result(warehouse, "done", entry)


def _inputs(warehouse: Warehouse, plan: RefreshPlan) -> tuple[DataFrame, DataFrame]:
    """Newest records of the window with labels as of the cut, hold-out left out; the labels."""
    pipeline = warehouse.pipeline

    def window(name: str) -> tuple[DataFrame, int]:
        rows = warehouse.read(name, plan.versions[name])
        dates = warehouse.rows_by_date(name, plan.versions[name]).items()
        count = sum(count for day, count in dates if plan.window_start <= day <= plan.ds)
        return in_window(rows, plan.window_start, plan.ds), count

    arrived, label_count = window("labels")
    labels = settle(labels_as_of(arrived, pipeline.labels.label, plan.cut), label_count)
    recorded, record_count = window("forward_records")
    records = recorded.where(~held_out(pipeline.holdout))
    joined = settle(labelled(records, labels), record_count)
    if joined.isEmpty():
        raise NoDataError(
            f"--ds = {plan.ds}: no forward records from {plan.window_start} to {plan.ds}."
            " Remedy: run `tenforward score` for these days first, or correct the date."
        )
    return joined, labels


def _refuse_bad(warehouse: Warehouse, plan: RefreshPlan, records: DataFrame) -> int:
    """Put unusable records into `forward_rejects`; refuse the refresh when they are too many."""
    counted = records.agg(F.count("*"), F.count(F.when(~usable(), 1))).first()
    total, bad = counted if counted is not None else (0, 0)
    if bad:
        why = F.lit("prediction, logits, label or sketch is not a finite number")
        reject(warehouse, records.where(~usable()), why, f"select/{plan.refresh_id}")
    allowed = warehouse.pipeline.selection.max_reject_share
    if bad > allowed * total:
        raise DataQualityError(
            f"--ds = {plan.ds}: {bad} of {total} records of the window are unusable (they are in"
            f" forward_rejects), above selection.max_reject_share = {allowed}. Remedy: mend the"
            " writer of these records, or raise the share."
        )
    return int(bad)


def _held_out(warehouse: Warehouse, plan: RefreshPlan, labels: DataFrame) -> DataFrame:
    """instance_id and label of the held-out instances of the window."""
    return labels.where(held_out(warehouse.pipeline.holdout) & F.col("label").isNotNull())


def result(warehouse: Warehouse, status: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What the command prints of a refresh, from its manifest."""
    shown = ("refresh_id", "pipeline", "ds", "policy", "seed", "candidates", "drawn", "rejected")
    report = json.loads(entry["report"])
    return {
        "status": status,
        **{name: entry[name] for name in shown},
        "held_out": entry["held_out"],
        "sample_digest": entry["sample_digest"],
        "mean_loss_gap": report.get("mean_loss_gap"),
        "effective_sample_size": report.get("effective_sample_size"),
        "sampled": {"path": warehouse.path("sampled"), "version": entry["sampled_version"]},
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="tenforward select", description="Select a day's refresh.")
    add_common_arguments(line)
    line.add_argument("--ds", required=True, type=parse_date, help="the day whose end is the cut")
    line.add_argument("--policy", help="instead of selection.policy of the pipeline")
    line.add_argument("--budget", type=float, help="instead of selection.budget: a share of rows")
    line.add_argument("--seed", type=int, help="instead of selection.seed")
    line.add_argument("--force", action="store_true", help="make the refresh anew")
    line.add_argument("--dry-run", action="store_true", help="say what would be done")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> selection."""
    args = parser().parse_args(argv)
    overrides = {f"selection.{name}": getattr(args, name) for name in ("policy", "budget", "seed")}
    pipeline = load_pipeline(args.pipeline, overrides)
    require_over(args.ds)
    policy_for(pipeline.selection.policy, pipeline.task)  # refuse before Spark starts
    warehouse = Warehouse(args.warehouse, pipeline)
    if args.dry_run:
        warehouse.require(*warehouse.tables)
        there = manifest(warehouse, refresh_id(pipeline, args.ds)) is not None
        status = "already done" if there else "planned"
        return {"status": status, **vars(plan_refresh(warehouse, args.ds))}
    return select_day(warehouse, args.ds, force=args.force)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
