"""Select: candidates of a window -> probabilities, sampled rows, manifest.

    spark-submit --py-files dist/tenforward.zip spark_jobs/select_sample.py \\
        --pipeline pipelines/flights.toml --ds 2013-02-01
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from functools import partial
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.command import (
    about,
    add_common_arguments,
    budget_text,
    parse_date,
    require_over,
    run_command,
)
from schemas.errors import DataQualityError, NoDataError
from schemas.manifests import read_manifests
from schemas.pipeline import Pipeline, load_pipeline
from schemas.reasons import DUPLICATE_DIFFERS
from schemas.sections.budget import parse_budget
from spark_jobs.blocks.spark_blocks import blocks_of, drawn_frame
from spark_jobs.candidates.assemble import Counts
from spark_jobs.candidates.maturity import with_labels
from spark_jobs.candidates.narrow import forward_share, held_out, in_window, labels_as_of, narrow
from spark_jobs.candidates.registered import registered_versions
from spark_jobs.candidates.rejects import (
    Rules,
    contradicting,
    label_fault,
    record_fault,
    reject,
    rules_of,
)
from spark_jobs.refresh.candidate_files import store_candidates
from spark_jobs.refresh.gpu_hours import affordable
from spark_jobs.refresh.plan import RefreshPlan, as_it_was, plan_refresh, refresh_id
from spark_jobs.refresh.write import manifest, write_refresh
from spark_jobs.report.card import current_card, write_card
from spark_jobs.selection.engine import Selection, select
from spark_jobs.selection.policies import configured
from spark_jobs.storage.warehouse import Warehouse

log = logging.getLogger("tenforward")


def select_day(
    warehouse: Warehouse, ds: date, *, force: bool = False, rebuild: bool = False
) -> dict[str, Any]:
    """Select the refresh of a day, unless it is there; the result of the command.

    `force` makes it anew from the tables as they are now, in place of the old one; `rebuild` from
    the versions that its manifest names, and refuses to write a sample of another digest.
    """
    pipeline = warehouse.pipeline
    about(pipeline=pipeline.name, ds=ds, refresh_id=refresh_id(pipeline, ds))
    configured(pipeline)  # refuse before anything is read
    warehouse.require(*warehouse.tables)
    done = manifest(warehouse, refresh_id(pipeline, ds))
    if done is not None and not (force or rebuild):
        return result(warehouse, "already done", done)
    plan = plan_refresh(warehouse, ds)
    if rebuild:
        plan = as_it_was(warehouse, plan, done)
    before = previous_mixture(warehouse, ds)
    policy = configured(pipeline, before.get("weights"))
    records, labels, at_most = candidates_of(warehouse, plan)
    rules = record_rules(warehouse)
    narrowed = narrow(
        records,
        labels,
        plan.cut,
        sketch=policy.calibrated,
        rules=rules,
        maturity=pipeline.labels,
    )
    blocks, counts = blocks_of(narrowed, at_most, plan.seed, pipeline.selection.provisional_label)
    with closing(blocks):
        _refuse_bad(warehouse, plan, records, labels, counts, rules)
        budget = affordable(warehouse, parse_budget(pipeline.selection.budget))
        selection = select(blocks, policy, budget, plan.seed, pipeline.task)
        if rebuild:
            _require_same(done, selection.digest)
        entry = write_refresh(
            warehouse,
            plan,
            drawn_frame(warehouse.spark, selection),
            partial(store_candidates, warehouse, selection, plan.refresh_id),
            held_out_rows(warehouse, plan, labels),
            _named(selection.report, pipeline, counts) | _lineage(plan, before, selection),
            selection.digest,
            counts.rejected,
        )
    write_card(warehouse, entry)
    return result(warehouse, "done", entry)


def _require_same(done: dict[str, Any] | None, digest: str) -> None:
    if done is not None and digest != done["sample_digest"]:
        raise DataQualityError(
            f"refresh {done['refresh_id']}: rebuilt with digest {digest[:12]}, its manifest has"
            f" {done['sample_digest'][:12]}; nothing was written. Remedy: use the release of"
            " tenforward that made it, or --force to replace it."
        )


def previous_mixture(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    """The mixture's weights that the newest refresh before this day left, and which that is."""
    parts = configured(warehouse.pipeline).mixture
    if not parts:
        return {}
    policy = warehouse.pipeline.selection.policy
    for entry in read_manifests(warehouse.path("refreshes"), policy=policy):
        left = json.loads(entry["report"]).get("mixture", {}).get("next", {})
        if entry["ds"] < ds and left.keys() == parts.keys():
            return {"from": entry["refresh_id"], "weights": left}
    return {}


def candidates_of(warehouse: Warehouse, plan: RefreshPlan) -> tuple[DataFrame, DataFrame, int]:
    """Records of the days drawn from without the hold-out, labels of the window as they arrived, a
    bound on both."""

    def window(name: str, last: date) -> tuple[DataFrame, int]:
        rows = warehouse.read(name, plan.versions[name])
        dates = warehouse.rows_by_date(name, plan.versions[name]).items()
        count = sum(count for day, count in dates if plan.window_start <= day <= last)
        return in_window(rows, plan.window_start, last), count

    arrived, label_count = window("labels", plan.ds)
    recorded, record_count = window("forward_records", plan.last_drawn)
    label = F.col(warehouse.pipeline.labels.label).cast("double").alias("label")
    labels = arrived.select("instance_id", "event_date", "known_at", label)
    records = recorded.where(~held_out(warehouse.pipeline.holdout))
    return records, labels, label_count + record_count


def record_rules(warehouse: Warehouse) -> Rules:
    """What the records of this warehouse must fit."""
    pipeline = warehouse.pipeline
    # The models of an imported log are somebody else's; no registry of ours knows them.
    if pipeline.selection.unknown_models == "accept" or pipeline.records is not None:
        return rules_of(pipeline)
    return rules_of(pipeline, registered_versions(warehouse.root, pipeline.name))


def _refuse_bad(
    warehouse: Warehouse,
    plan: RefreshPlan,
    records: DataFrame,
    labels: DataFrame,
    counts: Counts,
    rules: Rules,
) -> None:
    """Put unusable rows into `forward_rejects`; refuse the refresh when they are too many."""
    if counts.records == 0:
        raise NoDataError(
            f"--ds = {plan.ds}: no forward records from {plan.window_start} to {plan.ds}."
            " Remedy: run `tenforward score` for these days first, or correct the date."
        )
    bad = counts.rejected
    if bad:
        known = labels.where(F.col("known_at") <= F.lit(plan.cut))
        _write_rejects(warehouse, plan, records, known, counts, rules)
    allowed = warehouse.pipeline.selection.max_reject_share
    if bad > allowed * counts.records:
        reasons = ", ".join(f"{name} {count}" for name, count in counts.rejects.items())
        raise DataQualityError(
            f"--ds = {plan.ds}: {bad} of {counts.records} records of the window are unusable"
            f" ({reasons}; they are in forward_rejects), above selection.max_reject_share ="
            f" {allowed}. Remedy: mend the writer of these records, or raise the share.",
            rejects=counts.rejects,
        )


def _write_rejects(
    warehouse: Warehouse,
    plan: RefreshPlan,
    records: DataFrame,
    labels: DataFrame,
    counts: Counts,
    rules: Rules,
) -> None:
    """Keep what cannot be used as it came; once for each version that was read."""
    read = plan.versions
    batch = f"select/{plan.refresh_id}/{read['forward_records']}/{read['labels']}"
    judged = records.withColumn("fault", record_fault(rules))
    reject(warehouse, judged.where("fault IS NOT NULL"), batch)
    if DUPLICATE_DIFFERS in counts.rejects:
        twice = contradicting(judged.where("fault IS NULL").drop("fault"))
        twice = twice.withColumn("fault", F.lit(DUPLICATE_DIFFERS))
        reject(warehouse, twice, f"{batch}/duplicates")
    wrong = labels.withColumn("fault", label_fault(rules)).where("fault IS NOT NULL")
    reject(warehouse, wrong, f"{batch}/labels")


def _named(report: dict[str, Any], pipeline: Pipeline, counts: Counts) -> dict[str, Any]:
    """The report with the segments' names, and what was not a candidate."""
    names = {f"segment{place}": name for place, name in enumerate(pipeline.instances.segments)}
    segments = [
        {**line, "segment": names.get(line["segment"], line["segment"])}
        for line in report["segments"]
    ]
    waiting = {"records": counts.records, "unmatured_records": counts.unmatured}
    return {**report, "segments": segments, **waiting, "rejects": counts.rejects}


def _lineage(plan: RefreshPlan, before: dict[str, Any], selection: Selection) -> dict[str, Any]:
    """Where the sample comes from, as the report card shows it."""
    lines = {
        "refresh_id": plan.refresh_id,
        "window": [str(plan.window_start), str(plan.ds)],
        "seed": plan.seed,
        "input_versions": plan.versions,
        "sample_digest": selection.digest,
    }
    if "mixture" in selection.report:
        lines["mixture"] = {**selection.report["mixture"], "from": before.get("from")}
    return lines


def held_out_rows(warehouse: Warehouse, plan: RefreshPlan, labels: DataFrame) -> DataFrame:
    """instance_id and label, as of the cut, of the rows to judge by: the held-out instances of the
    window, and of the days after the last one drawn from about as many again."""
    pipeline, rule = warehouse.pipeline, warehouse.pipeline.labels
    judges = held_out(pipeline.holdout)
    if plan.last_drawn < plan.ds:
        days, forward = pipeline.selection.window_days, (plan.ds - plan.last_drawn).days
        later = F.col("event_date") > F.lit(plan.last_drawn)
        judges |= later & held_out(forward_share(pipeline.holdout, days, forward))
    good = label_fault(rules_of(pipeline)).isNull()
    known = labels_as_of(labels.where(judges & good), "label", plan.cut)
    if rule.maturity == "arrival":
        return known.where(F.col("label").isNotNull())
    instances = warehouse.read("instances", plan.versions["instances"])
    asked = in_window(instances, plan.window_start, plan.ds).where(judges)
    asked = asked.select("instance_id", "event_time")
    return with_labels(asked, known, rule, plan.cut).select("instance_id", "label")


def result(warehouse: Warehouse, status: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What the command prints of a refresh, from its manifest; a card that is missing is made."""
    shown = ("refresh_id", "pipeline", "ds", "policy", "seed", "candidates", "drawn", "rejected")
    report = json.loads(entry["report"])
    lineage = {name: entry[name] for name in ("pipeline", "ds", "refresh_id")}
    about(**lineage, table_version=entry["sampled_version"])
    return {
        "status": status,
        **{name: entry[name] for name in shown},
        "rejects": report.get("rejects", {}),
        "held_out": entry["held_out"],
        "sample_digest": entry["sample_digest"],
        "mean_loss_gap": report.get("mean_loss_gap"),
        "effective_sample_size": report.get("effective_sample_size"),
        "sampled": {"path": warehouse.path("sampled"), "version": entry["sampled_version"]},
        "report_card": current_card(warehouse, entry),
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="tenforward select", description="Select a day's refresh.")
    add_common_arguments(line)
    line.add_argument("--ds", required=True, type=parse_date, help="the day whose end is the cut")
    line.add_argument("--policy", help="instead of selection.policy of the pipeline")
    line.add_argument(
        "--budget", type=budget_text, help='instead of selection.budget: 0.1, "5000 rows", ...'
    )
    line.add_argument("--seed", type=int, help="instead of selection.seed")
    again = line.add_mutually_exclusive_group()
    again.add_argument("--force", action="store_true", help="anew, from the tables as they are")
    again.add_argument("--rebuild", action="store_true", help="again, from the tables as they were")
    line.add_argument("--dry-run", action="store_true", help="say what would be done")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> selection."""
    args = parser().parse_args(argv)
    overrides = {f"selection.{name}": getattr(args, name) for name in ("policy", "budget", "seed")}
    pipeline = load_pipeline(args.pipeline, overrides)
    require_over(args.ds)
    configured(pipeline)  # refuse before Spark starts
    warehouse = Warehouse(args.warehouse, pipeline)
    if args.dry_run:
        warehouse.require(*warehouse.tables)
        there = manifest(warehouse, refresh_id(pipeline, args.ds)) is not None
        status = "already done" if there else "planned"
        return {"status": status, **vars(plan_refresh(warehouse, args.ds))}
    return select_day(warehouse, args.ds, force=args.force, rebuild=args.rebuild)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
