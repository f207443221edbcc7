"""Backfill: score, select and train, day after day; what is done already is left alone.

Where `[records]` says that they come from a log, each day is imported instead of scored; where a
server's recorder brings them, nothing is answered, and a day that has none is not due.

    tenforward backfill --pipeline pipelines/flights.toml --start 2013-02-01 --end 2013-02-10

Each day is scored by the champion that the day before left behind, as in production, so the days
come one after the other. `--only score` and `--only select` do not depend on a training, and their
days may run side by side (`--max-parallel`). One Spark session, started when it is first needed,
serves the whole range; `--only score,select` is a day of the DAG in one session.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date
from functools import partial
from typing import Any

from schemas.command import (
    add_common_arguments,
    budget_text,
    parse_date,
    pipeline_of,
    require_order,
    require_over,
    run_command,
)
from schemas.errors import ConfigurationError, EmptyDrawError, NoDataError, TenforwardError
from schemas.faults import fault_of
from schemas.log import log
from schemas.manifests import Manifest, find_manifest
from schemas.pipeline import Pipeline
from schemas.progress import Underway, step
from schemas.sections.budget import parse_budget
from schemas.signals import was_interrupted
from spark_jobs.days.brought import brought
from spark_jobs.days.planned import days, plan, runs, without_traffic
from spark_jobs.days.told import IMPORT, PASSED_OVER, RAN, line_of, plan_line, summary_table
from spark_jobs.due import due
from spark_jobs.import_records import import_records
from spark_jobs.refresh.claims import numbered
from spark_jobs.refresh.forward_passes import recounted
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.refresh.write import write_manifest
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.selection.policies import configured
from spark_jobs.storage.warehouse import Warehouse

IDLE = ("not due", "nothing to do", PASSED_OVER)  # of a step after which the day has no other

SCORE_SELECT = "score,select"  # of --only
LASTING = 5  # days, from which on Java compiles well rather than quickly

Step = Callable[[Warehouse, date], dict[str, Any]]


def train_day(warehouse: Warehouse, ds: date, *, force: bool = False) -> dict[str, Any]:
    """Train on the refresh of a day."""
    from trainer.train import train_refresh  # torch takes seconds to import; --dry-run needs none

    name = refresh_id(warehouse.pipeline, ds)
    return train_refresh(warehouse.pipeline, warehouse.root, name, force=force)


def score_asked(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    """Score a day; one on which nothing was asked, with traffic before and after it, is skipped."""
    if not without_traffic(warehouse.rows_by_date("instances"), ds):
        return score_day(warehouse, ds)
    reason = "no instances on that UTC date, and some before and after it"
    done = {"pipeline": warehouse.pipeline.name, "ds": ds, "reason": reason}
    return {"status": "nothing to do"} | done


def import_asked(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    """Import a day's records; one of which the log has no row, nor the table a record, is told."""
    try:
        return import_records(warehouse, ds, ds)
    except NoDataError:
        return brought(warehouse.pipeline, warehouse.root, ds)


def select_asked(warehouse: Warehouse, ds: date, *, force: bool = False) -> dict[str, Any]:
    """Select a day; one from whose window nothing can be drawn is passed over: its labels may have
    to mature first, and its instances are candidates of a later day."""
    try:
        return select_day(warehouse, ds, force=force)
    except EmptyDrawError as error:
        done = {"pipeline": warehouse.pipeline.name, "ds": ds, "reason": str(error)}
        return {"status": PASSED_OVER} | done


STEPS: dict[str, Step] = {"score": score_asked, "select": select_asked, "train": train_day}

# What --force does anew. A day's records are appended once and for all.
FORCED: dict[str, Step] = {
    "select": partial(select_asked, force=True),
    "train": partial(train_day, force=True),
}


def due_day(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    """Whether the day is due, by the tables as the days before have left them."""
    return due(warehouse.pipeline, warehouse.root, ds)


def steps_of(pipeline: Pipeline, only: str | None, force: bool) -> dict[str, Step]:
    """The steps of each day in their order, as the tasks of the DAG are."""
    steps, source = STEPS | FORCED if force else STEPS, pipeline.records_from
    chosen: dict[str, Step] = {}
    for name, run in steps.items():
        if runs(only, name):
            if name == "select" and (pipeline.schedule.conditional or source == "online"):
                chosen["due"] = due_day
            if name != "score" or source == "score":
                chosen[name] = run
            elif source == "import":
                chosen[IMPORT] = import_asked
    return chosen


def train_newest(warehouse: Warehouse, force: bool) -> dict[str, Any]:
    """One training, on the newest refresh that the table holds."""
    from trainer.train import train_refresh

    return train_refresh(warehouse.pipeline, warehouse.root, force=force)


def backfill(
    warehouse: Warehouse,
    start: date,
    end: date,
    *,
    only: str | None = None,
    force: bool = False,
    go_on: bool = False,
    parallel: int = 1,
) -> list[dict[str, Any]]:
    """Run the steps of every day; one entry a day, in the order of the days. That of a day which
    is not due has what `due` answered and no step after it.

    Stops at the first failure, naming its day. With `go_on` the day's entry has `error` and
    `exit_code` instead, and the next day is tried.
    """
    steps = steps_of(warehouse.pipeline, only, force)

    def day(ds: date) -> dict[str, Any]:
        entry: dict[str, Any] = {"ds": ds}
        try:
            for name, run in steps.items():
                entry[name] = _run(name, run, warehouse, ds)
                if entry[name]["status"] in IDLE:
                    break
        except TenforwardError as error:
            if not go_on:
                raise type(error)(f"{error} What had finished stays.", **error.details) from error
            entry |= {"error": str(error), "exit_code": error.exit_code}
        return entry

    wanted = list(days(start, end))
    formers = _there(warehouse, wanted) if parallel > 1 and only == "select" else {}
    with step("backfill", len(wanted), "days") as through:
        ran = map(day, wanted) if parallel == 1 else _side_by_side(day, wanted, parallel)
        entries = _logged(ran, len(wanted), through)
    if parallel == 1:
        return entries
    _recount(warehouse, formers)
    return sorted(entries, key=lambda entry: str(entry["ds"]))


def _there(warehouse: Warehouse, wanted: Sequence[date]) -> dict[str, Manifest | None]:
    """The refreshes of some days by their ids, None of a day that has none."""
    names = [refresh_id(warehouse.pipeline, ds) for ds in wanted]
    return {name: find_manifest(warehouse.path("refreshes"), name) for name in names}


def _recount(warehouse: Warehouse, formers: Mapping[str, Manifest | None]) -> None:
    """Days selected side by side did not see each other: count their forward passes again, in the
    order of the days. formers: what was there of each."""
    for name in formers:
        own = numbered(warehouse, name, tables=["refreshes"])
        there = find_manifest(own.path("refreshes"), name)
        if there is not None and (now := recounted(own, there, formers)) != there:
            write_manifest(own, now)


def _side_by_side(
    day: Callable[[date], dict[str, Any]], wanted: Sequence[date], parallel: int
) -> Iterator[dict[str, Any]]:
    """The entries as they are finished; after a failure or Ctrl-C no further day begins."""
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        futures = [pool.submit(day, ds) for ds in wanted]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _logged(
    entries: Iterable[dict[str, Any]], count: int, through: Underway
) -> list[dict[str, Any]]:
    """The entries, each told in the log as it comes, with the time that the others will take."""
    began, done = time.monotonic(), []
    for number, entry in enumerate(entries, 1):
        left = (time.monotonic() - began) / number * (count - number)
        words = line_of(entry)
        log.info("%s (%d/%d, about %.0f s left) %s", entry["ds"], number, count, left, words)
        done.append(entry)
        through.add()
    return done


def _run(name: str, run: Step, warehouse: Warehouse, ds: date) -> dict[str, Any]:
    try:
        return run(warehouse, ds)
    except Exception as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        fault = fault_of(error)
        if fault is None:
            raise TenforwardError(f"{ds}, {name}: {type(error).__name__}: {error}.") from error
        raise type(fault)(f"{ds}, {name}: {fault}", **fault.details) from error


def _positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _require_independent(parallel: int, only: str | None, pipeline: Pipeline) -> None:
    """ConfigurationError where one day needs what the day before has left."""
    if only == SCORE_SELECT:
        needs = "a day is selected from the days that were scored before it"
    elif only not in ("score", "select"):
        needs = "each day is scored by the champion that the training of the day before left"
    elif only == "select" and configured(pipeline).mixture:
        needs = "the mixture takes its weights from the refresh before"
    elif only == "select" and pipeline.schedule.conditional:
        needs = "[schedule] has conditions, and whether a day is due depends on the days before"
    elif only == "select" and parse_budget(pipeline.selection.budget).unit == "per forward pass":
        needs = "the forward passes that pay for a day are counted from the refresh before"
    else:
        return
    raise ConfigurationError(
        f"--max-parallel = {parallel}: {needs}. Remedy: leave it out, or run one step alone:"
        " --only score, or --only select with a policy other than a mixture, a budget in rows or"
        " as a share, and no conditions in [schedule]."
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward backfill",
        description="Score, select and train for every day of a range; resumes where it stopped.",
    )
    add_common_arguments(line)
    line.add_argument("--start", required=True, type=parse_date, help="first day")
    line.add_argument("--end", required=True, type=parse_date, help="last day")
    line.add_argument("--policy", help="instead of selection.policy of the pipeline")
    line.add_argument(
        "--budget", type=budget_text, help='instead of selection.budget: 0.1, "5000 rows", ...'
    )
    line.add_argument(
        "--only",
        choices=[*STEPS, SCORE_SELECT],
        help="one step, or a day of the DAG; `score` imports where records come from a log; `train`"
        " trains once, on the newest refresh of the table",
    )
    line.add_argument(
        "--max-parallel",
        type=_positive,
        default=1,
        metavar="N",
        help="days at a time, with --only score or --only select (%(default)s)",
    )
    line.add_argument("--dry-run", action="store_true", help="plan and count, change nothing")
    line.add_argument("--force", action="store_true", help="select and train anew what is done")
    line.add_argument(
        "--continue-on-error", action="store_true", help="try the next day after a failed one"
    )
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> plan -> days."""
    args = parser().parse_args(argv)
    overrides = {"selection.policy": args.policy, "selection.budget": args.budget}
    pipeline = pipeline_of(args, overrides, trains=args.only in (None, "train"))
    require_order(args.start, args.end)
    require_over(args.end, "--end")
    if args.only == "score" and pipeline.records_from == "online":
        raise ConfigurationError(
            "--only = 'score': records.source is 'online', so a server's recorder brings the"
            " records and there is nothing to run. Remedy: leave it out."
        )
    if args.max_parallel > 1:
        _require_independent(args.max_parallel, args.only, pipeline)
    lasts = (args.end - args.start).days >= LASTING
    warehouse = Warehouse(args.warehouse, pipeline, lasts=lasts)
    planned = plan(
        warehouse, args.start, args.end, only=args.only, force=args.force, count=args.dry_run
    )
    if not args.json:
        for day in planned:
            log.info("%s", plan_line(day))
    if args.dry_run:
        return {"status": "planned", "pipeline": pipeline.name, "days": planned}
    if args.only == "train":
        return train_newest(warehouse, args.force)
    empty = [day for day in planned if not day["instances"]]
    if len(empty) < len(planned):
        empty = [day for day in empty if not day["without_traffic"]]
    if empty and not args.continue_on_error:
        raise NoDataError(
            f"{empty[0]['ds']}: no instances ({len(empty)} such days of {len(planned)}); nothing"
            " was run. Remedy: ingest these days first, or correct --start and --end."
        )
    done = backfill(
        warehouse,
        args.start,
        args.end,
        only=args.only,
        force=args.force,
        go_on=args.continue_on_error,
        parallel=args.max_parallel,
    )
    if not args.json:
        for line in summary_table(done):
            log.info("%s", line)
    return summary(pipeline.name, done)


def summary(pipeline: str, done: list[dict[str, Any]]) -> dict[str, Any]:
    """The result of the command; the exit code of the first day that failed, if one did, and that
    of `NoDataError` where days were selected and each of them was passed over."""
    selected = [day["select"] for day in done if "select" in day]
    passed = [part for part in selected if part["status"] == PASSED_OVER]
    result = {"pipeline": pipeline, "days": done, "passed_over": len(passed)}
    failed = [day for day in done if "error" in day]
    if failed:
        return {"status": "failed", "exit_code": failed[0]["exit_code"]} | result
    if passed:
        told = f"{len(passed)} of {len(done)} days passed over, nothing could be drawn"
        log.warning("%s; the first: %s", told, passed[0]["reason"])
        if not any(part["status"] in RAN for part in selected):
            error = f"{told}. The first: {passed[0]['reason']}"
            return {"status": "failed", "exit_code": NoDataError.exit_code, "error": error} | result
    steps = [part for day in done for name, part in day.items() if name in (*STEPS, IMPORT)]
    fresh = any(part["status"] not in ("already done", PASSED_OVER) for part in steps)
    return {"status": "done" if fresh else "already done"} | result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
