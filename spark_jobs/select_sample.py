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

from schemas.command import (
    about,
    add_common_arguments,
    budget_text,
    parse_date,
    require_over,
    run_command,
)
from schemas.errors import DataQualityError
from schemas.manifests import read_manifests
from schemas.pipeline import Pipeline, load_pipeline
from schemas.sections.budget import parse_budget
from spark_jobs.blocks.spark_blocks import blocks_of, drawn_frame
from spark_jobs.candidates.assemble import Counts
from spark_jobs.candidates.narrow import narrow
from spark_jobs.candidates.refusal import refuse_bad
from spark_jobs.candidates.window import candidates_of, held_out_rows, record_rules
from spark_jobs.refresh.candidate_files import store_candidates
from spark_jobs.refresh.gpu_hours import affordable
from spark_jobs.refresh.plan import RefreshPlan, as_it_was, plan_refresh, refresh_id
from spark_jobs.refresh.write import manifest, write_refresh
from spark_jobs.report.card import write_card
from spark_jobs.report.outcome import result
from spark_jobs.selection.engine import SelectionResult, select
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
        refuse_bad(warehouse, plan, records, labels, counts, rules)
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


def _named(report: dict[str, Any], pipeline: Pipeline, counts: Counts) -> dict[str, Any]:
    """The report with the segments' names, and what was not a candidate."""
    names = {f"segment{place}": name for place, name in enumerate(pipeline.instances.segments)}
    segments = [
        {**line, "segment": names.get(line["segment"], line["segment"])}
        for line in report["segments"]
    ]
    waiting = {"records": counts.records, "unmatured_records": counts.unmatured}
    return {**report, "segments": segments, **waiting, "rejects": counts.rejects}


def _lineage(
    plan: RefreshPlan, before: dict[str, Any], selection: SelectionResult
) -> dict[str, Any]:
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
