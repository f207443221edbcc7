"""Due: whether `[schedule]` asks for a refresh of a day, from the tables as they are; no Spark.

    tenforward due --pipeline pipelines/flights.toml --ds 2013-02-01

Of `days`, `new_records` and `drift` the first that is reached makes it due. A new record is an
instance with a forward record whose label has matured between the cut of the last refresh and the
cut of this day. Drift compares the losses of these with the loss distribution of the last
refresh's candidates, which its manifest holds. Only event dates with new labels are read, narrowly.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from schemas.command import add_common_arguments, parse_date, pipeline_of, require_over, run_command
from schemas.log import log
from schemas.manifests import Manifest, read_manifests
from schemas.pipeline import Pipeline
from schemas.sections.section import parse_duration
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.selection import tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.drift import stability_index
from spark_jobs.storage.warehouse import Warehouse


def due(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    """The result of the command: status `due` or `not due`, the reason and the figures."""
    pipeline, wanted = warehouse.pipeline, warehouse.pipeline.schedule
    result: dict[str, Any] = {"pipeline": pipeline.name, "ds": ds}
    if not wanted.conditional:
        return _because(result, True, "[schedule] has no conditions: every day has a refresh")
    warehouse.require("refreshes", "forward_records", "labels")
    made = read_manifests(warehouse.path("refreshes"), policy=pipeline.selection.policy)
    if any(one.refresh_id == refresh_id(pipeline, ds) for one in made):
        return _because(result, True, "its refresh is there, to be left alone or repeated")
    last = next((one for one in made if one.ds < ds), None)
    if last is None:
        return _because(result, True, "there is no earlier refresh of this policy")
    result |= {"last_refresh": last.refresh_id, "days": (ds - last.ds).days}
    if wanted.days is not None and result["days"] >= wanted.days:
        return _because(result, True, f"{result['days']} days since {last.refresh_id}")
    if wanted.new_records is None and wanted.drift is None:
        return _because(result, False, f"{result['days']} of {wanted.days} days have passed")
    return _by_new_records(warehouse, ds, last, result)


def _by_new_records(
    warehouse: Warehouse, ds: date, last: Manifest, result: dict[str, Any]
) -> dict[str, Any]:
    """Judge by what has matured since the last refresh, whose manifest is `last`."""
    pipeline, wanted = warehouse.pipeline, warehouse.pipeline.schedule
    new = newly_matured(warehouse, _cut(last.ds), _cut(ds))
    result |= {"new_records": len(new)}
    if wanted.new_records is not None and len(new) >= wanted.new_records:
        return _because(result, True, f"{len(new)} new records, at least {wanted.new_records}")
    if wanted.drift is None:
        return _because(result, False, f"{len(new)} of {wanted.new_records} new records")
    before = last.report.get("loss_distribution")
    if not before:
        return _because(result, True, f"{last.refresh_id} has no losses to compare with")
    index = stability_index(before, losses(pipeline, new))
    result |= {"drift": index}
    if index is None:
        return _because(result, False, f"{len(new)} new records are too few to tell drift")
    reached = index >= wanted.drift
    return _because(result, reached, f"drift {index:.4f}, limit {wanted.drift}")


def _because(result: dict[str, Any], is_due: bool, reason: str) -> dict[str, Any]:
    log.info("%s: %s: %s", result["ds"], "due" if is_due else "not due", reason)
    return {"status": "due" if is_due else "not due"} | result | {"reason": reason}


def _cut(ds: date) -> datetime:
    """The end of a day, as a refresh has it."""
    return datetime.combine(ds + timedelta(days=1), time(), UTC)


def newly_matured(warehouse: Warehouse, since: datetime, cut: datetime) -> pd.DataFrame:
    """prediction, logits, label of every instance of the window with a record whose label has
    matured after `since` and by `cut`; the rule is `[labels].maturity`.
    """
    rule = warehouse.pipeline.labels
    wait = timedelta(0) if rule.after is None else parse_duration(rule.after)
    waited = set(_days(since - wait, cut - wait))  # event dates that become old enough
    window = _days(cut - timedelta(days=warehouse.pipeline.selection.window_days), cut)[:-1]
    labels = _labels(warehouse, window, cut)
    new = labels[(labels["known_at"] > since) | labels["event_date"].isin(waited)]
    days = set(new["event_date"]) | (waited & set(window) if rule.maturity == "window" else set())
    records = _records(warehouse, sorted(days))
    how: Any = "left" if rule.maturity == "window" else "inner"
    joined = records.merge(new.drop(columns="event_date"), on="instance_id", how=how)
    old_enough, known_at = joined["event_time"] + wait, joined["known_at"]
    if rule.maturity == "window":  # a positive at once; an instance without a label is a negative
        matured = known_at.where(joined["label"] > 0, old_enough)
        joined["label"] = joined["label"].fillna(0.0)
    else:
        matured = old_enough.where(old_enough > known_at, known_at)
    return joined[(matured > since) & (matured <= cut)]


def _labels(warehouse: Warehouse, window: Sequence[date], cut: datetime) -> pd.DataFrame:
    """instance_id, event_date, label, known_at: the newest value known by the cut, and when the
    first one was known.
    """
    name = warehouse.pipeline.labels.label
    read = _read(warehouse, "labels", window, ["instance_id", "known_at", name])
    read = read[(read["known_at"] <= cut) & read[name].notna()]
    return (
        read.sort_values("known_at", kind="stable")
        .groupby("instance_id", sort=False)
        .agg(event_date=("event_date", "first"), label=(name, "last"), known_at=("known_at", "min"))
        .reset_index()
    )


def _records(warehouse: Warehouse, days: Sequence[date]) -> pd.DataFrame:
    """instance_id, event_time, prediction, logits: the newest record of each instance."""
    columns = ["instance_id", "event_time", "recorded_at", "prediction", "logits"]
    read = _read(warehouse, "forward_records", days, columns)
    newest = read.sort_values("recorded_at", kind="stable").drop_duplicates(
        "instance_id", keep="last"
    )
    return newest.drop(columns=["recorded_at", "event_date"])


def _read(
    warehouse: Warehouse, name: str, days: Sequence[date], columns: list[str]
) -> pd.DataFrame:
    """Columns of the event dates, and `event_date`; times in UTC."""
    storage, root = _storage(warehouse.path(name))
    schema = warehouse.tables[name].arrow_schema
    wanted = pa.schema([schema.field(column) for column in columns])
    parts = []
    for file in warehouse.files(name):
        if (day := file["partition"]["event_date"]) in days:
            # By ParquetFile: else the folder's name would come back as a column.
            read = pq.ParquetFile(f"{root}/{unquote(file['path'])}", filesystem=storage)
            # Spark's timestamps come without their zone.
            part = read.read(columns=columns).select(columns).cast(wanted)
            parts.append(part.to_pandas().assign(event_date=day))
    empty = wanted.empty_table().to_pandas().assign(event_date=pd.Series(dtype="object"))
    return pd.concat(parts, ignore_index=True) if parts else empty


def _storage(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a table, and the table's path in it."""
    if "://" not in place:
        return fs.LocalFileSystem(), place
    found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(place.replace("s3a://", "s3://", 1))
    return found


def _days(start: datetime, end: datetime) -> list[date]:
    return [start.date() + timedelta(days=n) for n in range((end.date() - start.date()).days + 1)]


def losses(pipeline: Pipeline, new: pd.DataFrame) -> Array:
    """The loss of each row whose prediction and label are finite."""
    many = pipeline.task == "multiclass"
    known = new.dropna(subset=["logits" if many else "prediction", "label"])
    column = known["logits" if many else "prediction"]
    prediction = np.array(column.to_list(), np.float64)
    found = tasks.loss(pipeline.task, prediction, known["label"].to_numpy(np.float64))
    return np.asarray(found[np.isfinite(found)])


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> whether a refresh is due."""
    line = argparse.ArgumentParser(
        prog="tenforward due", description="Whether [schedule] asks for a refresh of a day."
    )
    add_common_arguments(line)
    line.add_argument("--ds", required=True, type=parse_date, help="the day whose end is the cut")
    args = line.parse_args(argv)
    warehouse = Warehouse(args.warehouse, pipeline_of(args))
    require_over(args.ds)
    return due(warehouse, args.ds)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
