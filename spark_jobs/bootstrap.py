"""Bootstrap: the first refresh, of every labelled instance in a range, before any model answers.

There are no forward records yet, so nothing can be scored: all rows are drawn, each with
probability 1 and weight 1, or its own weight over the mean of these. Training on it gives the first
champion, which answers the days after the range: leave some (docs/cold-start.md).
"""

import argparse
import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from shlex import quote
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from schemas.command import (
    add_common_arguments,
    parse_date,
    pipeline_of,
    require_order,
    require_over,
    run_command,
)
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from schemas.log import log
from schemas.manifests import BOOTSTRAP, Decided, Manifest, find_manifest
from schemas.progress import step
from schemas.rules import Rules, rules_of
from schemas.set_aside import SET_ASIDE, ids_set_aside
from spark_jobs.candidates.narrow import held_out, in_window, known_as, labels_as_of
from spark_jobs.candidates.one_row import repeat
from spark_jobs.candidates.rejects import label_faults, reject
from spark_jobs.candidates.spark_maturity import with_labels
from spark_jobs.days.cold_start import advice
from spark_jobs.refresh.claims import numbered
from spark_jobs.refresh.plan import RefreshPlan, plan_refresh
from spark_jobs.refresh.write import Draft, write_refresh
from spark_jobs.report.outcome import outcome
from spark_jobs.selection.engine import ENGINE
from spark_jobs.storage.settle import Keep, letting_go, settle
from spark_jobs.storage.warehouse import Warehouse


def bootstrap(
    warehouse: Warehouse, start: date, end: date, *, force: bool = False
) -> dict[str, Any]:
    """Write the refresh of all labelled instances in [start, end], unless it is there.

    force: in place of the one that is there. Raises ConfigurationError where that begins on another
    day, NoDataError where no instance is labelled.
    """
    with step(f"bootstrap {start} to {end}"), letting_go() as keep:
        return _bootstrap(warehouse, start, end, force, keep)


def _bootstrap(
    warehouse: Warehouse, start: date, end: date, force: bool, keep: Keep
) -> dict[str, Any]:
    warehouse.require(*warehouse.tables)
    refresh_id = f"{end}-bootstrap-{warehouse.pipeline.selection_digest()[:8]}"
    warehouse = numbered(warehouse, refresh_id)
    there = find_manifest(warehouse.path("refreshes"), refresh_id)
    if there is not None and not force:
        _require_start(there, start)
        return outcome(warehouse, "already done", there)
    plan = replace(
        plan_refresh(warehouse, end),
        refresh_id=refresh_id,
        policy=BOOTSTRAP,
        window_start=start,
        last_drawn=end,
    )
    dates = warehouse.rows_by_date("instances", plan.versions["instances"])
    at_most = sum(count for day, count in dates.items() if start <= day <= end)
    rules = rules_of(warehouse.pipeline)
    with step(f"joining labels with at most {at_most:,} instances"):
        repeats = repeat(_window(warehouse, plan, "instances"), warehouse.path("instances"))
        labels = keep(settle(_labels(warehouse, plan, rules), at_most))
        aside = ids_set_aside(warehouse.root, plan.versions.get(SET_ASIDE))
        free = ~(held_out(warehouse.pipeline.holdout) | F.col("instance_id").isin(aside))
        decisions = keep(settle(all_drawn(labels.where(free)), at_most))
        count = decisions.count()
    if count == 0:
        raise NoDataError(
            f"--start {start} --end {end}: no labelled instances. Remedy: ingest these days first,"
            " or correct the dates."
        )
    own = warehouse.pipeline.labels.known_as
    kept = labels.where(held_out(warehouse.pipeline.holdout)).select("instance_id", *own)
    with step("looking for labels that cannot be used"):
        rejects = _rejected(warehouse, plan, rules, keep)
    report = {
        "candidates": count,
        "budget": count,
        "drawn": count,
        "sum_probability": float(count),
        "rejects": rejects,
    }
    draft = Draft(
        decisions,
        decisions,
        report,
        _digest(decisions, weighted="row_weight" in own),
        Decided(budget="1", engine=ENGINE, elsewhere=warehouse.pins_elsewhere()),
        rejected=sum(rejects.values()),
        repeats=repeats,
    )
    with step(f"writing {count:,} rows"):
        manifest = write_refresh(warehouse, plan, draft, kept)
    return outcome(warehouse, "done", manifest)


def _require_start(there: Manifest, start: date) -> None:
    """One refresh begins and ends with its days; its name has the last alone."""
    begins = there.inputs.window_start
    if begins != start:
        raise ConfigurationError(
            f"--start = {start}: the bootstrap to {there.ds} is there, {there.refresh_id}, of"
            f" {begins} to {there.ds}. Remedy: give --start {begins} to go on with it, another"
            " --end for one beside it, or --force to write it anew from the other day on."
        )


def _labels(warehouse: Warehouse, plan: RefreshPlan, rules: Rules) -> DataFrame:
    """Instances of the range with their labels as of the cut."""
    rule = warehouse.pipeline.labels
    labels = labels_as_of(_window(warehouse, plan, "labels"), rule.known_as, plan.cut, rules)
    asked = _window(warehouse, plan, "instances").select("instance_id", "event_time")
    asked = asked.where("instance_id IS NOT NULL").dropDuplicates(["instance_id"])
    return with_labels(asked, labels, rule, plan.cut).where("label IS NOT NULL")


def _window(warehouse: Warehouse, plan: RefreshPlan, name: str) -> DataFrame:
    return in_window(warehouse.read_pinned(name, plan.versions), plan.window_start, plan.ds)


def _rejected(warehouse: Warehouse, plan: RefreshPlan, rules: Rules, keep: Keep) -> dict[str, int]:
    """Put the labels that cannot be used into `forward_rejects`; how many for each reason."""
    known = _window(warehouse, plan, "labels").where(F.col("known_at") <= F.lit(plan.cut))
    own = known_as(warehouse.pipeline.labels.known_as)
    judged = label_faults(known.select("instance_id", "event_date", "known_at", *own), rules.label)
    wrong = keep(judged.where("fault IS NOT NULL").persist())
    counts = {row["fault"]: row["count"] for row in wrong.groupBy("fault").count().collect()}
    if counts:
        # With the first day: made anew from another one on, it meets others.
        batch = f"bootstrap/{plan.refresh_id}/{plan.window_start}/{plan.versions['labels']}"
        reject(warehouse, wrong, batch)
        log.warning("labels rejected: %s", counts)
    return counts


def all_drawn(labelled: DataFrame) -> DataFrame:
    """Every row drawn with probability 1 and weight 1, or its `row_weight` over their mean where it
    has one; positions follow a hash of the id. Raises DataQualityError where all of these are 0."""
    order = Window.orderBy(F.xxhash64("instance_id"), "instance_id")
    weight, own = F.lit(1.0), ["row_weight"] if "row_weight" in labelled.columns else []
    if own:
        weight = F.col("row_weight") / F.lit(_mean_row_weight(labelled))
    nothing = F.lit(None).cast("double")
    return labelled.select(
        "instance_id",
        "event_time",
        F.lit("").alias("model_version"),
        "label",
        nothing.alias("loss"),
        F.lit(1.0).alias("score"),
        F.lit(1.0).alias("probability"),
        nothing.alias("probability_negative"),
        nothing.alias("probability_positive"),
        F.lit(True).alias("drawn"),
        weight.alias("weight"),
        F.lit(0.0).alias("offset"),
        (F.row_number().over(order) - 1).cast("bigint").alias("position"),
        *own,
    )


def _mean_row_weight(labelled: DataFrame) -> float:
    """Exactly rounded, in whatever order Spark hands the rows out, as no sum of Spark's own is: the
    sample's digest has the weights. The driver holds 8 bytes a row."""
    weights = labelled.select("row_weight").toArrow()["row_weight"]
    total = math.fsum(one for chunk in weights.chunks for one in chunk.to_numpy())
    if len(weights) and total == 0.0:
        raise DataQualityError(
            f"row_weight = 0 of all {len(weights)} labelled instances: nothing is left to learn"
            " from. Remedy: correct the column that labels.weight names, or leave that setting out."
        )
    return total / max(len(weights), 1) or 1.0


def _digest(decisions: DataFrame, *, weighted: bool) -> str:
    """SHA-256 over ids and labels in order, and weights where rows have their own."""
    state, names = hashlib.sha256(), ["instance_id", "label", *(["weight"] if weighted else [])]
    for row in decisions.select(*names).orderBy("position").toLocalIterator():
        state.update(f"{' '.join(str(row[name]) for name in names)}\n".encode())
    return state.hexdigest()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward bootstrap",
        description="Write the first refresh, of every labelled instance in a range of days.",
    )
    add_common_arguments(line)
    line.add_argument("--start", required=True, type=parse_date, help="first UTC date")
    line.add_argument("--end", required=True, type=parse_date, help="last UTC date")
    line.add_argument("--force", action="store_true", help="anew, from the tables as they are")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> refresh."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    require_order(args.start, args.end)
    require_over(args.end, "--end")
    warehouse = Warehouse(args.warehouse, pipeline)
    done = bootstrap(warehouse, args.start, args.end, force=args.force)
    where = f"--pipeline {quote(args.pipeline)} --warehouse {quote(args.warehouse)}"
    told = advice(
        where,
        (args.start, args.end),
        done["refresh_id"],
        warehouse.rows_by_date("instances"),
        pipeline.selection.window_days,
        datetime.now(UTC).date(),
    )
    (log.warning if told.warns else log.info)("%s", told.told)
    if not args.json:
        for one in told.commands:
            log.info("next: %s", one)
    return done | {"note": told.told, "next": told.commands}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
