"""Due: whether `[schedule]` asks for a refresh of a day, from the tables as they are; no Spark.

    tenforward due --pipeline pipelines/flights.toml --ds 2013-02-01

Of the conditions the first that is reached makes it due. A new record (`new_records`, `drift`) is a
candidate of this day's window whose label has matured between the cut of the last refresh and the
cut of this day (`days.newly_matured`). A day of which a server's recorder, where it is to bring
the records, has brought none is not due. Drift compares the losses of these with the loss
distribution of the last refresh's candidates, which its manifest holds. `max_loss` and
`max_calibration_gap` judge what `monitor` has written at cuts between these two.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from schemas.command import add_common_arguments, parse_date, pipeline_of, require_over, run_command
from schemas.log import about, log
from schemas.manifests import Manifest, read_manifests
from schemas.pipeline import Pipeline
from schemas.places import within
from schemas.sections.monitor import Monitor
from spark_jobs.days.brought import brought
from spark_jobs.days.by_dates import Earlier, by_dates
from spark_jobs.days.newly_matured import newly_matured
from spark_jobs.monitoring.limits import Passed, passed
from spark_jobs.monitoring.performance import as_of, read_performance
from spark_jobs.refresh.plan import cut_of, refresh_id
from spark_jobs.selection import tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.drift import stability_index
from spark_jobs.selection.records import Records
from spark_jobs.storage import logs


def due(pipeline: Pipeline, warehouse: str, ds: date) -> dict[str, Any]:
    """The result of the command: status `due` or `not due`, the reason and the figures."""
    about(pipeline=pipeline.name, ds=ds)
    wanted = pipeline.schedule
    result: dict[str, Any] = {"pipeline": pipeline.name, "ds": ds}
    if pipeline.records_from == "online":
        came = brought(pipeline, warehouse, ds)
        if not came["records"]:
            return _because(result, False, came["reason"])
    if not wanted.conditional:
        return _because(result, True, "[schedule] has no conditions: every day has a refresh")
    logs.require(pipeline, warehouse, "refreshes", "forward_records", "labels")
    refreshes = read_manifests(within(warehouse, "refreshes"), policy=pipeline.selection.policy)
    there = any(one.refresh_id == refresh_id(pipeline, ds) for one in refreshes)
    last = next((one for one in refreshes if one.ds < ds), None)
    earlier = None if last is None else Earlier(last.ds, last.refresh_id)
    told, reason = by_dates(wanted, ds, there=there, last=earlier)
    if last is not None and not there:
        result |= {"last_refresh": last.refresh_id, "days": (ds - last.ds).days}
    if told is not None or last is None:
        return _because(result, bool(told), reason)
    beyond = served_beyond(pipeline, warehouse, last.ds, ds) if wanted.by_performance else []
    if beyond:
        return _because(result, True, str(beyond[0]))
    if not wanted.by_records:
        return _because(result, False, "no limit on what was served is passed")
    return _by_new_records(pipeline, warehouse, ds, last, result)


def served_beyond(pipeline: Pipeline, warehouse: str, before: date, ds: date) -> list[Passed]:
    """The limits that rows of `performance` pass whose cut is after that of the day `before` and
    no later than that of `ds`."""
    wanted = pipeline.schedule
    logs.require_owned(pipeline, warehouse, "performance")  # `monitor` has to have run
    logs.require(pipeline, warehouse, "performance")
    rows = as_of(read_performance(within(warehouse, "performance")), cut_of(ds)).values()
    new = [row for row in rows if row["cut"] > cut_of(before)]
    limits = Monitor(
        max_loss=wanted.max_loss,
        max_calibration_gap=wanted.max_calibration_gap,
        min_rows=pipeline.monitor.min_rows,
    )
    return passed(new, limits, (), section="schedule")


def _by_new_records(
    pipeline: Pipeline, warehouse: str, ds: date, last: Manifest, result: dict[str, Any]
) -> dict[str, Any]:
    """Judge by what has matured since the last refresh, whose manifest is `last`."""
    wanted = pipeline.schedule
    new = newly_matured(pipeline, warehouse, last.ds, ds)
    result |= {"new_records": new.size}
    if wanted.new_records is not None and new.size >= wanted.new_records:
        return _because(result, True, f"{new.size} new records, at least {wanted.new_records}")
    if wanted.drift is None:
        return _because(result, False, f"{new.size} of {wanted.new_records} new records")
    before = last.report.get("loss_distribution")
    if not before:
        return _because(result, True, f"{last.refresh_id} has no losses to compare with")
    index = stability_index(before, losses(pipeline.task, new))
    result |= {"drift": index}
    if index is None:
        return _because(result, False, f"{new.size} new records are too few to tell drift")
    reached = index >= wanted.drift
    return _because(result, reached, f"drift {index:.4f}, limit {wanted.drift}")


def _because(result: dict[str, Any], is_due: bool, reason: str) -> dict[str, Any]:
    log.info("%s: %s: %s", result["ds"], "due" if is_due else "not due", reason)
    return {"status": "due" if is_due else "not due"} | result | {"reason": reason}


def losses(task: str, new: Records) -> Array:
    """The loss of each candidate (n,)."""
    return tasks.loss(task, new.prediction, new.label) if new.size else np.zeros(0)


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> whether a refresh is due."""
    line = argparse.ArgumentParser(
        prog="tenforward due", description="Whether [schedule] asks for a refresh of a day."
    )
    add_common_arguments(line)
    line.add_argument("--ds", required=True, type=parse_date, help="the day whose end is the cut")
    args = line.parse_args(argv)
    pipeline = pipeline_of(args, writes=False)
    require_over(args.ds)
    return due(pipeline, args.warehouse, args.ds)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
