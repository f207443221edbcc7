"""Select: candidates of a window -> probabilities, sampled rows, manifest.

    spark-submit --py-files dist/tenforward.zip spark_jobs/select_sample.py \\
        --pipeline pipelines/flights.toml --ds 2013-02-01
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from schemas.ahead import import_ahead
from schemas.allowance import Allowance
from schemas.asked import ASKED
from schemas.command import (
    add_common_arguments,
    budget_text,
    parse_date,
    pipeline_of,
    require_over,
    run_command,
)
from schemas.errors import ConfigurationError, DataQualityError
from schemas.findings import REPEATED
from schemas.log import about, log
from schemas.manifests import Decided, Manifest, find_manifest
from schemas.pipeline import Pipeline
from schemas.progress import step
from schemas.record_step import step_in
from schemas.sections.budget import parse_budget
from spark_jobs.asking.ask import ask_of, asked_by
from spark_jobs.blocks.spark_blocks import blocks_of, drawn_frame
from spark_jobs.candidates.assemble import Counts
from spark_jobs.candidates.census_report import census_report, seen
from spark_jobs.candidates.narrow import narrow
from spark_jobs.candidates.refusal import refuse_bad, refuse_unsound
from spark_jobs.candidates.window import held_out_rows, window_of
from spark_jobs.days.cold_start import coverage_line
from spark_jobs.days.estimates import Estimate, estimate_of
from spark_jobs.estimation.answers import write_csv
from spark_jobs.refresh.affordable import NoRowError
from spark_jobs.refresh.claims import is_unfinished, numbered, was_rebuild
from spark_jobs.refresh.decided import decide, decided_then
from spark_jobs.refresh.plan import RefreshPlan, plan_refresh, plan_then, refresh_id
from spark_jobs.refresh.served import served_by
from spark_jobs.refresh.write import Draft, write_refresh
from spark_jobs.report.outcome import outcome
from spark_jobs.selection.engine import SelectionResult, select
from spark_jobs.selection.policies import configured, on_records
from spark_jobs.storage.warehouse import Warehouse


def select_day(
    warehouse: Warehouse, ds: date, *, force: bool = False, rebuild: bool = False
) -> dict[str, Any]:
    """Select the refresh of a day, unless it is there or its budget comes to no row; the result of
    the command.

    `force` makes it anew from the tables as they are now, in place of the old one; `rebuild` from
    what its manifest pins and nothing else, and refuses to write a sample of another digest. What a
    killed run of either has begun is done to its end, whatever is asked.
    """
    pipeline = warehouse.pipeline
    about(pipeline=pipeline.name, ds=ds, refresh_id=refresh_id(pipeline, ds))
    configured(pipeline)  # refuse before anything is read
    with step(f"select {ds}"):
        return _select_day(warehouse, ds, force=force, rebuild=rebuild)


def _select_day(warehouse: Warehouse, ds: date, *, force: bool, rebuild: bool) -> dict[str, Any]:
    pipeline, name = warehouse.pipeline, refresh_id(warehouse.pipeline, ds)
    warehouse.require(*warehouse.tables)
    warehouse = numbered(warehouse, name)
    there = find_manifest(warehouse.path("refreshes"), name)
    if there is not None and not (force or rebuild):
        if not is_unfinished(warehouse, there):
            return outcome(warehouse, "already done", there)
        rebuild = was_rebuild(warehouse, name)
        log.warning("%s: a run of it was ended before its manifest; it is done again", name)
    if rebuild:
        warehouse = numbered(warehouse, name, rebuilds=True)
    plan = plan_refresh(warehouse, ds)
    if rebuild:
        before = _to_rebuild(plan, there)
        plan, decided = plan_then(warehouse, plan, before), decided_then(before)
        manifest = select_refresh(warehouse, plan, decided, before.allowance, before)
    else:
        try:
            with step("counting forward passes"):
                decided, allowance = decide(warehouse, plan, starts=True)
        except NoRowError as error:
            log.warning("%s", error)
            return {"status": "nothing to do", "pipeline": pipeline.name, "reason": str(error)}
        import_ahead("spark_jobs.report.card")  # a second of matplotlib, while Spark is at work
        manifest = select_refresh(warehouse, plan, decided, allowance)
    with step("writing the report card"):
        from spark_jobs.report.card import write_card

        write_card(warehouse, manifest)
        days, counts = manifest.report.get("coverage", {}).get("days", ()), manifest.counts
        if line := coverage_line(days, counts.drawn, counts.candidates):
            log.info("%s", line)
        return outcome(warehouse, "done", manifest)


def _to_rebuild(plan: RefreshPlan, there: Manifest | None) -> Manifest:
    if there is None:
        raise ConfigurationError(
            f"--ds = {plan.ds}: there is no refresh {plan.refresh_id} to rebuild. Remedy: give the"
            " pipeline file, policy, budget and seed that it was made with, or leave --rebuild out."
        )
    return there


def select_refresh(
    warehouse: Warehouse,
    plan: RefreshPlan,
    decided: Decided,
    allowance: Allowance | None,
    before: Manifest | None = None,
) -> Manifest:
    """Candidates -> draw -> tables. before: of the same sample; DataQualityError for another."""
    pipeline = warehouse.pipeline
    policy = configured(pipeline, decided.mixture)
    window = window_of(
        warehouse, plan, decided.model_versions, keys_of_instances=decided.keys_of_instances
    )
    rows = narrow(
        window.asked.records,
        window.labels,
        plan.cut,
        sketch=policy.calibrated,
        rules=window.rules,
        maturity=pipeline.labels,
        asked=window.asked,
    )
    provisional = pipeline.selection.provisional_label
    with step(f"gathering candidates from at most {window.at_most:,} rows"):
        blocks, counts = blocks_of(
            rows, window.at_most, plan.seed, provisional, decided.learnt_until
        )
    with closing(blocks):
        refuse_bad(warehouse, plan, window, counts)
        assert counts.census is not None  # asked for above
        refuse_unsound(warehouse, plan, window, counts.census)
        policy, budget = on_records(policy, counts.in_sample), parse_budget(decided.budget)
        served = served_by(pipeline, warehouse.root, decided) if before is None else None
        with step(f"scoring {blocks.count:,} candidates"):
            selection = select(blocks, policy, budget, plan.seed, pipeline.task, served)
        if before is not None:
            _require_same(plan, before.sample_digest, selection.digest)
        draft = Draft(
            drawn=drawn_frame(warehouse.spark, selection),
            candidates=selection,
            report=_report(selection, plan, decided, pipeline, counts)
            | {"set_aside": 0 if window.aside is None else window.aside.count()}
            | (
                census_report(warehouse, plan, counts.census)
                if before is None
                else _as_before(before)
            ),
            digest=selection.digest,
            decided=decided,
            allowance=allowance,
            rejected=counts.rejected,
            repeats=REPEATED in counts.census.found,
        )
        with step(f"writing {draft.count:,} drawn rows"):
            held_out = held_out_rows(warehouse, plan, window.labels)
            return write_refresh(warehouse, plan, draft, held_out)


def _require_same(plan: RefreshPlan, before: str, now: str) -> None:
    if now != before:
        raise DataQualityError(
            f"refresh {plan.refresh_id}: rebuilt with digest {now[:12]}, its manifest has"
            f" {before[:12]}; nothing was written. Remedy: use the release of tenforward that made"
            " it, or --force to replace it."
        )


def _as_before(manifest: Manifest) -> dict[str, Any]:
    """What a rebuild takes from the manifest: what tables and registry said then."""
    step_then = step_in(manifest.report, manifest.refresh_id)
    return seen(manifest) | ({} if step_then is None else step_then.told())


def _report(
    selection: SelectionResult,
    plan: RefreshPlan,
    decided: Decided,
    pipeline: Pipeline,
    counts: Counts,
) -> dict[str, Any]:
    """The figures of the report card: the engine's with the segments' names, what was not a
    candidate, and where the sample comes from."""
    report = selection.report
    names = {f"segment{place}": name for place, name in enumerate(pipeline.instances.segments)}
    segments = [
        {**line, "segment": names.get(line["segment"], line["segment"])}
        for line in report["segments"]
    ]
    lines = {
        "segments": segments,
        "records": counts.records,
        "unmatured_records": counts.unmatured,
        "in_sample": counts.in_sample,
        "asked": report["asked"] if ASKED in plan.versions else 0,
        "rejects": counts.rejects,
        "refresh_id": plan.refresh_id,
        "window": [str(plan.window_start), str(plan.ds)],
        "seed": plan.seed,
        "input_versions": dict(plan.versions),
        "sample_digest": selection.digest,
    }
    if "mixture" in report:
        lines["mixture"] = {**report["mixture"], "from": decided.mixture_from}
    return {**report, **lines}


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
    ask = line.add_argument_group("whom to ask for a label")
    ask.add_argument("--unlabelled", action="store_true", help="draw among those without a label")
    ask.add_argument("--list", type=Path, metavar="FILE", help="write the drawn ones as CSV")
    return line


def _ask(warehouse: Warehouse, args: argparse.Namespace) -> dict[str, Any]:
    """Whom to ask for a label; their list, and the result of the command."""
    for name in ("force", "rebuild", "dry_run"):
        if getattr(args, name):
            option = name.replace("_", "-")
            raise ConfigurationError(f"--{option}: of no use with --unlabelled. Remedy: drop it.")
    if args.budget is None or args.list is None:
        raise ConfigurationError(
            "--unlabelled: how many to ask and where to list them is not said. Remedy: add --budget"
            ' "500 rows" and --list FILE.'
        )
    ask = ask_of(warehouse.pipeline, args.ds, args.policy, args.budget)
    asked = asked_by(warehouse, ask)
    write_csv(asked, args.list)
    return {
        "status": "done",
        "pipeline": warehouse.pipeline.name,
        "ask_id": ask.ask_id,
        "policy": ask.policy.name,
        "asked": asked.num_rows,
        "list": str(args.list),
    }


def _planned(warehouse: Warehouse, ds: date, *, again: bool) -> dict[str, Any]:
    """What a selection of the day would read, what pays for it, and the rows that come to; again:
    whether a refresh that is there would be made anew."""
    there = find_manifest(warehouse.path("refreshes"), refresh_id(warehouse.pipeline, ds))
    if there is not None and is_unfinished(warehouse, there):
        there = None
    plan = plan_refresh(warehouse, ds)
    try:
        decided, allowance = decide(warehouse, plan)
    except NoRowError as error:
        return {"status": "nothing to do", **vars(plan), "reason": str(error)}
    paid = {
        "forward_passes": allowance.forward_passes,
        "predecessor": allowance.predecessor,
        "passes_a_row": allowance.epochs * allowance.pulls,
    }
    if there is not None and not again:
        status, drawn = "already done", Estimate(there.counts.candidates, there.counts.drawn)
    else:
        status, drawn = "planned", estimate_of(warehouse, plan, decided)
    if not drawn.candidates:
        log.warning("--ds = %s: no candidate in the window yet: select would end with 3", ds)
    rows = {"candidates": drawn.candidates, "estimated_rows": drawn.rows, "refused": drawn.refused}
    return {"status": status, **vars(plan), "budget": decided.budget, **paid, **rows}


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> selection."""
    args = parser().parse_args(argv)
    own = ("seed",) if args.unlabelled else ("policy", "budget", "seed")
    overrides = {f"selection.{name}": getattr(args, name) for name in own}
    pipeline = pipeline_of(args, overrides)
    require_over(args.ds)
    warehouse = Warehouse(args.warehouse, pipeline)
    if args.unlabelled:
        warehouse.require(*warehouse.tables)
        return _ask(warehouse, args)
    if args.list is not None:
        raise ConfigurationError("--list: of no use without --unlabelled. Remedy: drop it.")
    if args.dry_run:
        warehouse.require(*warehouse.tables)
        return _planned(warehouse, args.ds, again=args.force)
    return select_day(warehouse, args.ds, force=args.force, rebuild=args.rebuild)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
