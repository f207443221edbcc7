"""Backfill: score, select and train, day after day; what is done already is left alone.

    tenforward backfill --pipeline pipelines/flights.toml --start 2013-02-01 --end 2013-02-10

Each day is scored by the champion that the day before left behind, as in production. One Spark
session, started when it is first needed, serves the whole range.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from schemas.command import (
    add_common_arguments,
    budget_text,
    parse_date,
    require_order,
    run_command,
)
from schemas.errors import NoDataError, TenforwardError
from schemas.pipeline import load_pipeline
from spark_jobs.refresh import manifest
from spark_jobs.score import score_day, score_transaction
from spark_jobs.select_sample import refresh_id, select_day
from spark_jobs.selection.policies import configured
from spark_jobs.warehouse import Warehouse

log = logging.getLogger("tenforward")

Step = Callable[[Warehouse, date], dict[str, Any]]


def train_day(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    """Train on the refresh of a day."""
    from trainer.train import train_refresh  # torch takes seconds to import; --dry-run needs none

    return train_refresh(warehouse.pipeline, warehouse.root, refresh_id(warehouse.pipeline, ds))


STEPS: dict[str, Step] = {"score": score_day, "select": select_day, "train": train_day}


def days(start: date, end: date) -> Iterator[date]:
    """Every date from start to end, both included."""
    for number in range((end - start).days + 1):
        yield start + timedelta(days=number)


def plan(warehouse: Warehouse, start: date, end: date) -> list[dict[str, Any]]:
    """What each day has and lacks, from the tables' logs alone: no Spark, no data read."""
    warehouse.require(*warehouse.tables)
    instances = warehouse.rows_by_date("instances")
    return [
        {
            "ds": ds,
            "instances": instances.get(ds, 0),
            "scored": warehouse.committed("forward_records", score_transaction(ds)) is not None,
            "selected": manifest(warehouse, refresh_id(warehouse.pipeline, ds)) is not None,
            "refresh_id": refresh_id(warehouse.pipeline, ds),
        }
        for ds in days(start, end)
    ]


def backfill(warehouse: Warehouse, start: date, end: date) -> list[dict[str, Any]]:
    """Run every step of every day; one entry a day. Stops at the first failure, naming its day."""
    count, began, done = (end - start).days + 1, time.monotonic(), []
    for number, ds in enumerate(days(start, end), 1):
        results = {name: _run(name, step, warehouse, ds) for name, step in STEPS.items()}
        left = (time.monotonic() - began) / number * (count - number)
        log.info("%s (%d/%d, about %.0f s left) %s", ds, number, count, left, _line(results))
        done.append({"ds": ds, **results})
    return done


def _run(name: str, step: Step, warehouse: Warehouse, ds: date) -> dict[str, Any]:
    try:
        return step(warehouse, ds)
    except TenforwardError as error:
        raise type(error)(f"{ds}, {name}: {error} Days before {ds} are done.") from error
    except Exception as error:
        message = f"{ds}, {name}: {type(error).__name__}: {error}. Days before {ds} are done."
        raise TenforwardError(message) from error


def _line(results: dict[str, dict[str, Any]]) -> str:
    if all(result["status"] == "already done" for result in results.values()):
        return "already done"
    score, select, train = results["score"], results["select"], results["train"]
    scored = score.get("records", "already")
    outcome = "promoted" if train.get("promoted") else "not promoted"
    return (
        f"scored {scored}, drew {select['drawn']} of {select['candidates']},"
        f" version {train.get('version')} {outcome}"
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
    line.add_argument("--dry-run", action="store_true", help="plan and count, change nothing")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> plan -> days."""
    args = parser().parse_args(argv)
    require_order(args.start, args.end)
    overrides = {"selection.policy": args.policy, "selection.budget": args.budget}
    pipeline = load_pipeline(args.pipeline, overrides)
    configured(pipeline)
    warehouse = Warehouse(args.warehouse, pipeline)
    planned = plan(warehouse, args.start, args.end)
    for day in planned:
        log.info(
            "%s: %s instances, %s, %s",
            day["ds"],
            day["instances"],
            "scored" if day["scored"] else "to score",
            "selected" if day["selected"] else "to select",
        )
    if args.dry_run:
        return {"status": "planned", "pipeline": pipeline.name, "days": planned}
    empty = [day["ds"] for day in planned if not day["instances"]]
    if empty:
        raise NoDataError(
            f"{empty[0]}: no instances ({len(empty)} such days of {len(planned)}); nothing was run."
            " Remedy: ingest these days first, or correct --start and --end."
        )
    done = backfill(warehouse, args.start, args.end)
    fresh = any(part["status"] != "already done" for day in done for part in list(day.values())[1:])
    return {"status": "done" if fresh else "already done", "pipeline": pipeline.name, "days": done}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
