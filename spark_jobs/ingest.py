"""`tenforward ingest`: fill the feature store of a pipeline from its `source`, exactly once.

A repeat finds its transactions committed and does nothing. Ranges that overlap add only the rows
that are not there yet. Two ingests of overlapping ranges must not run at the same time.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable as Snapshot

from schemas.columns import Table
from schemas.command import (
    add_common_arguments,
    parse_date,
    pipeline_of,
    require_order,
    run_command,
)
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.progress import step
from schemas.sections.section import parse_duration
from schemas.sections.store import FeatureView
from spark_jobs.imported.frames import new_rows, require_kind
from spark_jobs.sources import find_source
from spark_jobs.storage.creation import create_missing
from spark_jobs.storage.day_files import rows_of_file
from spark_jobs.storage.warehouse import Warehouse

ALREADY_DONE = "already done"


def ingest(
    warehouse: Warehouse, start: date | None = None, end: date | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Append the source's rows for event dates `start` to `end`, both included; None is open.

    Returns the rows appended to each table. Raises NoDataError where the source has no instance
    in the range, ConfigurationError and DataQualityError before anything is written.
    """
    pipeline = warehouse.pipeline
    load = find_source(pipeline.source)
    if start is not None and end is not None:
        require_order(start, end)
    names = source_tables(pipeline)
    for name in names:
        warehouse.require_own(name)
    pending = [name for name in names if not _is_done(warehouse, name, start, end)]
    counts: dict[str, int | str] = dict.fromkeys(names, ALREADY_DONE)
    if pending:
        log.info("ingest: reading source %s", pipeline.source)
        with step("ingest: reading the source"):
            frames = trim(load(), pipeline, start, end)
            ready = {name: to_arrow(frames, warehouse.tables[name]) for name in pending}
        if dry_run:
            counts |= {name: _lacking(warehouse, name, rows) for name, rows in ready.items()}
        else:
            counts |= _append(warehouse, ready, start, end)
    status = "planned" if dry_run and pending else "done" if pending else ALREADY_DONE
    return {
        "status": status,
        "pipeline": pipeline.name,
        "source": pipeline.source,
        "start": start,
        "end": end,
        "rows": counts,
    }


def source_tables(pipeline: Pipeline) -> list[str]:
    """The tables a source fills. Instances come last: where they are, their features are too."""
    views = [f"features/{view.name}" for view in pipeline.feature_views]
    return [*views, "labels", "instances"]


def trim(
    frames: Mapping[str, pd.DataFrame], pipeline: Pipeline, start: date | None, end: date | None
) -> dict[str, pd.DataFrame]:
    """The rows of the source that event dates `start` to `end` can need, `event_date` first."""
    missing = [name for name in source_tables(pipeline) if name not in frames]
    if missing:
        raise ConfigurationError(
            f"source = {pipeline.source!r}: has no table {missing[0]!r}. Remedy: take the view out"
            f" of the pipeline file; the source has {', '.join(frames)}."
        )
    first = pd.Timestamp(start) if start is not None else pd.Timestamp.min
    last = pd.Timestamp(end) if end is not None else pd.Timestamp.max
    kept = {
        name: frames[name][frames[name]["event_date"].between(first, last)]
        for name in ("instances", "labels")
    }
    if kept["instances"].empty:
        dates = frames["instances"]["event_date"]
        raise NoDataError(
            f"--start {start} --end {end}: the source has no instance there. Remedy: stay within"
            f" {dates.min():%Y-%m-%d} to {dates.max():%Y-%m-%d}."
        )
    views = {f"features/{view.name}": view for view in pipeline.feature_views}
    return kept | {name: _needed(frames[name], view, start, end) for name, view in views.items()}


def _needed(
    rows: pd.DataFrame, view: FeatureView, start: date | None, end: date | None
) -> pd.DataFrame:
    """View rows that some instance of the dates could take."""
    keep = pd.Series(True, index=rows.index)
    if start is not None and view.ttl is not None:
        oldest = pd.Timestamp(start, tz="UTC") - parse_duration(view.ttl)
        keep &= rows[view.timestamp_field] > oldest
    if end is not None:
        over = pd.Timestamp(end, tz="UTC") + timedelta(days=1)
        keep &= rows[view.timestamp_field] < over
        keep &= rows[view.created_timestamp_column] < over
    return rows[keep]


def to_arrow(frames: Mapping[str, pd.DataFrame], table: Table) -> pa.Table:
    """The source's rows in the form of `table`, in date order where it is partitioned by date."""
    frame = frames[table.name]
    lacking = [name for name in table.column_names if name not in frame.columns]
    if lacking:
        raise ConfigurationError(
            f"table {table.name}, column {lacking[0]}: the source does not have it. Remedy: take it"
            f" out of the pipeline file; the source has {', '.join(frame.columns)}."
        )
    for column in table.columns:
        require_kind(table.name, column, frame[column.name])
    if table.partition_by:
        # Neighbours share a writer task, so a date is one file, or two at a task's edge.
        frame = frame.sort_values(list(table.partition_by), kind="stable")
    try:
        return pa.Table.from_pandas(frame, schema=table.arrow_schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise DataQualityError(
            f"table {table.name}: the source's rows do not fit it: {error}. Remedy: correct the"
            " column's type in the pipeline file, or the source."
        ) from error


def _transaction(warehouse: Warehouse, name: str, start: date | None, end: date | None) -> str:
    dates = f"{start or 'first'}..{end or 'last'}"
    return f"ingest/{warehouse.pipeline.source}/{name}/{dates}"


def _is_done(warehouse: Warehouse, name: str, start: date | None, end: date | None) -> bool:
    if not warehouse.exists(name):
        return False
    return warehouse.committed(name, _transaction(warehouse, name, start, end)) is not None


def _append(
    warehouse: Warehouse, ready: Mapping[str, pa.Table], start: date | None, end: date | None
) -> dict[str, int | str]:
    """Append what is not there yet; rows by table."""
    create_missing(warehouse)
    warehouse.require(*ready)

    def append(name: str) -> int | str:
        rows = warehouse.spark.createDataFrame(ready[name])
        if warehouse.version(name) > 0:  # other ranges may have brought some of these rows
            rows = new_rows(rows, warehouse.read(name), _keys(warehouse.pipeline, name), name)
            if rows.isEmpty():
                return ALREADY_DONE
        version = warehouse.append_once(rows, name, _transaction(warehouse, name, start, end))
        count = _rows_written(warehouse, name, version)
        log.info("ingest: %s: %d rows, version %d", name, count, version)
        return count

    *others, last = ready
    every = sum(rows.num_rows for rows in ready.values())
    # A small append is mostly waiting for Delta's log; side by side they take half as long.
    with step(f"ingest: writing at most {every:,} rows"):
        with ThreadPoolExecutor(max_workers=4) as pool:
            counts = dict(zip(others, pool.map(append, others), strict=True))
        return counts | {last: append(last)}


def _lacking(warehouse: Warehouse, name: str, rows: pa.Table) -> int | str:
    """How many of the rows are not there yet, by their keys alone and without Spark."""
    if not warehouse.exists(name) or warehouse.version(name) == 0:
        return rows.num_rows
    keys = _keys(warehouse.pipeline, name)
    wanted = rows.select(keys)
    there = [wanted.schema.empty_table()]
    for file in warehouse.files(name):
        read = rows_of_file(warehouse.pipeline, warehouse.root, name, file, keys)
        there.append(read.cast(wanted.schema))
    known = pa.concat_tables(there).group_by(keys).aggregate([])
    return wanted.join(known, keys, join_type="left anti").num_rows or ALREADY_DONE


def _keys(pipeline: Pipeline, name: str) -> list[str]:
    """What tells two rows of a source table apart."""
    for view in pipeline.feature_views:
        if name == f"features/{view.name}":
            return [*view.entity, view.timestamp_field, view.created_timestamp_column]
    return ["instance_id", "known_at"] if name == "labels" else ["instance_id"]


def _rows_written(warehouse: Warehouse, name: str, version: int) -> int:
    """Rows of one append, from the metrics of its commit."""
    commits = Snapshot(warehouse.path(name)).history()
    metrics = next(commit["operationMetrics"] for commit in commits if commit["version"] == version)
    return int(metrics["numOutputRows"])


def parser() -> argparse.ArgumentParser:
    """The command line of `tenforward ingest`."""
    line = argparse.ArgumentParser(
        prog="tenforward ingest",
        description="Fill the feature store from the pipeline's source, exactly once.",
    )
    add_common_arguments(line)
    line.add_argument("--start", type=parse_date, metavar="DATE", help="first event date, UTC")
    line.add_argument("--end", type=parse_date, metavar="DATE", help="last event date, UTC")
    line.add_argument("--dry-run", action="store_true", help="count the rows, change nothing")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> rows by table."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    warehouse = Warehouse(args.warehouse, pipeline)
    return ingest(warehouse, args.start, args.end, args.dry_run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
