"""Import: somebody else's log of predictions becomes forward records, exactly once.

    tenforward import-records --pipeline pipelines/fraud.toml --ds 2026-02-01

`[records]` in the pipeline file maps the log's columns, or places in them. The job works by event
date: a repeat adds the rows that have come since and no other, so late rows need no bookkeeping and
the log may be a Delta table (compacted or not), plain Parquet or JSON. What cannot be used goes to
`forward_rejects`.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas import reasons
from schemas.command import (
    add_common_arguments,
    parse_date,
    pipeline_of,
    require_order,
    require_over,
    run_command,
)
from schemas.errors import ConfigurationError, NoDataError
from schemas.faults import fault_of
from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.places import for_spark, is_remote
from schemas.progress import step
from schemas.reasons import OTHER_SHAPE, UNPARSED
from schemas.sections.records import Log
from spark_jobs.candidates.rejects import content, rejects_of
from spark_jobs.imported.footers import require_one_form
from spark_jobs.imported.mapped import KEY, LEFT_OUT, judged, mapped, near, of_dates
from spark_jobs.imported.places import LINE, places_of
from spark_jobs.imported.unfolded import unfolded
from spark_jobs.storage.warehouse import Warehouse

APPLICATION = "import"
FEW = 5  # kinds of what could not be read that are told
_REJECTED = f"fault IS NOT NULL AND fault != '{LEFT_OUT}'"


def import_records(warehouse: Warehouse, start: date, end: date) -> dict[str, Any]:
    """Import the rows of event dates `start` to `end` that are not there yet.

    Raises ConfigurationError for a log that does not fit its map, NoDataError where it has no row
    of these dates, ConflictError where another import overtakes this one.
    """
    with step(f"import {start} to {end}"):
        return _import(warehouse, _source(warehouse.pipeline), start, end)


def _import(warehouse: Warehouse, source: Log, start: date, end: date) -> dict[str, Any]:
    warehouse.require("forward_records", "forward_rejects")
    # Numbered before the look for what is there: an import unseen competes for these numbers.
    names = ("forward_rejects", "forward_records")
    number = {name: warehouse.next_number(name, APPLICATION) for name in names}
    passes, by_fields = _passes(warehouse, source, start, end)
    rows = judged(mapped(passes, by_fields, end), warehouse.pipeline)
    batch = f"{APPLICATION}/{start}..{end}/{number['forward_records']}"
    rows = _against_earlier(warehouse, rows, start, end)
    rows = rows.withColumn("batch_id", F.lit(batch)).persist()
    try:
        with step("reading and judging the log"):
            counts = {row["fault"]: row["count"] for row in rows.groupBy("fault").count().collect()}
        left_out = counts.pop(LEFT_OUT, 0)
        if not counts:
            raise NoDataError(
                f"--ds = {end}: no rows from {start} to {end} in {source.path}"
                f"{_by_where(left_out)}. Remedy: correct the date, or [records] in the pipeline"
                " file."
            )
        good, bad = rows.where("fault IS NULL").dropDuplicates(KEY), rows.where(_REJECTED)
        why = _why(bad) if {UNPARSED, OTHER_SHAPE} & counts.keys() else []
        # Rejects first: when the good ones are in, the dates are done.
        with step(f"writing what is new of {sum(counts.values()):,} rows"):
            rejects, records = (
                warehouse.append_numbered(frame, name, APPLICATION, number[name])
                for name, frame in (
                    ("forward_rejects", _new_rejects(warehouse, bad.drop("there"), batch)),
                    ("forward_records", good.where(~F.col("there")).drop("there", "record")),
                )
            )
    finally:
        rows.unpersist()
    return {
        "status": "done" if rejects.rows or records.rows else "already done",
        "pipeline": warehouse.pipeline.name,
        "source": source.path,
        "start": start,
        "end": end,
        "read": sum(counts.values()),
        "records": records.rows,
        "rejected": rejects.rows,
        "rejects": _warned(counts),
        **({"why": why} if why else {}),
        **({"left_out": left_out} if source.where else {}),
        "version": warehouse.version("forward_records"),
    }


def _by_where(left_out: int) -> str:
    return f", {left_out:,} of other values than records.where has" if left_out else ""


def _warned(counts: Mapping[str | None, int]) -> dict[str, int]:
    """The rows that were rejected, by reason, which the log names too."""
    rejected = {reason: counts[reason] for reason in reasons.REASONS if reason in counts}
    for reason, count in rejected.items():
        log.warning("%d rows rejected, %s: %s", count, reason, reasons.REASONS[reason])
    return rejected


def _why(bad: DataFrame) -> list[dict[str, Any]]:
    """What was found in payloads that could not be read, the most frequent first, for the log too:
    where a format changed."""
    told = F.get_json_object("record", "$.why").alias("why")
    rows = bad.where(F.col("fault").isin(UNPARSED, OTHER_SHAPE)).groupBy(told).count()
    few = rows.orderBy(F.desc("count"), "why").limit(FEW).collect()
    for row in few:
        log.warning("%d rows: %s", row["count"], row["why"])
    return [{"why": row["why"], "rows": row["count"]} for row in few]


def _source(pipeline: Pipeline) -> Log:
    if pipeline.log is None:
        raise ConfigurationError(
            "records: the pipeline file describes no log: where is it, and what do its columns"
            " mean? Remedy: add them to the section [records] (docs/feature-store.md)."
        )
    return pipeline.log


def _passes(warehouse: Warehouse, source: Log, start: date, end: date) -> tuple[DataFrame, Log]:
    """The rows of the dates, one a forward pass, and what their columns mean."""
    rows = _read(warehouse, source, start, end)
    places = places_of(rows.schema, source)
    if not places.nested:
        return rows, source
    passes, by_fields = unfolded(rows, source, places)
    if "event_time" in places.columns:  # has been looked at
        return passes, by_fields
    return of_dates(passes, by_fields, start, end), by_fields


def _read(warehouse: Warehouse, source: Log, start: date, end: date) -> DataFrame:
    """The log's rows of the dates, and those without an event time, which belong to none; of a log
    whose event time is not a column, those that its date column has near these dates."""
    reader = warehouse.spark.read.format({"json": "text"}.get(source.format, source.format))
    if source.format == "parquet":
        require_one_form(source.path)
        reader = reader.option("mergeSchema", value=True)  # an older file may lack a column
        if not is_remote(source.path):
            # Several ranges at once gain nothing from a disk, and this way Hadoop trips over a
            # checksum file that somebody left unfinished beside a sound file.
            reader = reader.option("parquet.hadoop.vectored.io.enabled", value=False)
    try:
        rows = reader.load(for_spark(source.path))
    except Exception as error:
        fault = fault_of(error)
        if fault is None and not isinstance(error, PySparkException):
            raise
        what = str(fault or error).splitlines()[0].partition(" Remedy:")[0]
        raise ConfigurationError(
            f"records.path = {source.path!r}: not readable as {source.format} ({what})."
            " Remedy: correct records.path or records.format."
        ) from error
    if source.format == "json":
        rows = rows.where(F.trim(LINE) != "")
    columns = places_of(rows.schema, source).columns
    here = source if "date" in columns else source._replace(date=None)  # in a payload: read later
    if "event_time" in columns:
        return of_dates(rows, here, start, end)
    return rows if here.date is None else rows.where(near(rows, here.date, start, end))


def _against_earlier(warehouse: Warehouse, rows: DataFrame, start: date, end: date) -> DataFrame:
    """The rows with `there`: whether an import has brought them before. One that says something
    else now of the same forward pass has that as its `fault`, whenever it was recorded: what is in
    the table stays."""
    imported = F.col("batch_id").startswith(f"{APPLICATION}/")
    dated = F.col("event_date").between(F.lit(start), F.lit(end))
    earlier = warehouse.read("forward_records").where(imported & dated)
    said = F.struct("recorded_at", "event_time", content(earlier).alias("says"))
    known = earlier.groupBy(*KEY[:2]).agg(F.collect_set(said).alias("_known"))
    joined = rows.withColumn("_says", content(rows)).join(known, KEY[:2], "left")

    def some(test: Callable[[Column], Column]) -> Column:
        return F.coalesce(F.exists("_known", test), F.lit(False))

    there = some(lambda one: one["recorded_at"] == F.col("recorded_at"))
    other = some(lambda one: _of_one_pass(one) & (one["says"] != F.col("_says")))
    same = some(lambda one: _of_one_pass(one) & (one["says"] == F.col("_says")))
    changed = F.when(other & ~same, F.lit(reasons.DUPLICATE_DIFFERS))
    columns = {"fault": F.coalesce("fault", changed), "there": there}
    return joined.withColumns(columns).drop("_known", "_says")


def _of_one_pass(known: Column) -> Column:
    """Whether an earlier record is of the row's moment of recording, or of its event."""
    recorded = known["recorded_at"] == F.col("recorded_at")
    return recorded | (known["event_time"] == F.col("event_time"))


def _new_rejects(warehouse: Warehouse, rows: DataFrame, batch: str) -> DataFrame:
    """The same of rejects; as a record may lack every key, it is known by its text."""
    imported = F.col("batch_id").startswith(f"{APPLICATION}/")
    there = warehouse.read("forward_rejects").where(imported).select("record")
    return rejects_of(rows, batch, record=F.col("record")).join(there, "record", "left_anti")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward import-records",
        description="Append somebody else's log of predictions to the forward records.",
    )
    add_common_arguments(line)
    line.add_argument("--ds", required=True, type=parse_date, help="UTC event date, or the last")
    line.add_argument("--start", type=parse_date, help="first UTC event date (default: --ds)")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> import."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    _source(pipeline)  # refuse before Spark starts
    start = args.start or args.ds
    require_order(start, args.ds)
    require_over(args.ds)
    return import_records(Warehouse(args.warehouse, pipeline), start, args.ds)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
