"""Import: somebody else's log of predictions becomes forward records, exactly once.

    tenforward import-records --pipeline pipelines/fraud.toml --ds 2026-02-01

`[records]` in the pipeline file maps the log's columns. The job works by event date: a repeat adds
the rows that have come since and no other, so late rows need no bookkeeping and the log may be a
Delta table (compacted or not) or plain Parquet. What cannot be used goes to `forward_rejects`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from pyspark.errors import AnalysisException
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
from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.places import for_spark
from schemas.rules import rules_of
from schemas.sections.records import CLOSEST, RecordsSource
from spark_jobs.candidates.rejects import content, contradicting, first_fault, rejects_of
from spark_jobs.storage.warehouse import Warehouse

APPLICATION = "import"
# Where an answer may stand, and the type it has there.
_ANSWERS = {
    "prediction": "double",
    "probability": "double",
    "logits": "array<float>",
    "statistics": "array<float>",
}
KEY = ["instance_id", "model_version", "recorded_at"]


def import_records(warehouse: Warehouse, start: date, end: date) -> dict[str, Any]:
    """Import the rows of event dates `start` to `end` that are not there yet.

    Raises ConfigurationError for a log that does not fit its map, NoDataError where it has no row
    of these dates, ConflictError where another import overtakes this one.
    """
    source = _source(warehouse.pipeline)
    warehouse.require("forward_records", "forward_rejects")
    # Numbered before the look for what is there: an import unseen competes for these numbers.
    names = ("forward_rejects", "forward_records")
    number = {name: warehouse.next_number(name, APPLICATION) for name in names}
    rows = judged(mapped(_read(warehouse, source, start, end), source, end), warehouse.pipeline)
    batch = f"{APPLICATION}/{start}..{end}/{number['forward_records']}"
    rows = _against_earlier(warehouse, rows, start, end)
    rows = rows.withColumn("batch_id", F.lit(batch)).persist()
    try:
        counts = {row["fault"]: row["count"] for row in rows.groupBy("fault").count().collect()}
        if not counts:
            raise NoDataError(
                f"--ds = {end}: no rows from {start} to {end} in {source.path}. Remedy: correct the"
                " date, or records.path in the pipeline file."
            )
        good, bad = rows.where("fault IS NULL").dropDuplicates(KEY), rows.where("fault IS NOT NULL")
        # Rejects first: when the good ones are in, the dates are done.
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
        "version": warehouse.version("forward_records"),
    }


def _warned(counts: Mapping[str | None, int]) -> dict[str, int]:
    """The rows that were rejected, by reason, which the log names too."""
    rejected = {reason: counts[reason] for reason in reasons.REASONS if reason in counts}
    for reason, count in rejected.items():
        log.warning("%d rows rejected, %s: %s", count, reason, reasons.REASONS[reason])
    return rejected


def _source(pipeline: Pipeline) -> RecordsSource:
    if pipeline.records is None:
        raise ConfigurationError(
            "records is missing from the pipeline file: where is the log, and what do its columns"
            " mean? Remedy: add the section [records] (docs/feature-store.md)."
        )
    return pipeline.records


def _read(warehouse: Warehouse, source: RecordsSource, start: date, end: date) -> DataFrame:
    """The log's rows of the dates, and those without an event time, which belong to none."""
    try:
        rows = warehouse.spark.read.format(source.format).load(for_spark(source.path))
    except AnalysisException as error:
        raise ConfigurationError(
            f"records.path = {source.path!r}: not readable as {source.format}"
            f" ({str(error).splitlines()[0]}). Remedy: correct records.path or records.format."
        ) from error
    named = {
        "instance_id": source.instance_id,
        "event_time": source.event_time,
        "recorded_at": source.recorded_at,
        "model_version": source.model_version.column,
        "prediction": source.prediction.column,
        "sketch": source.sketch,
        "date": source.date,
        **{f"segments[{place}]": name for place, name in enumerate(source.segments)},
    }
    for field, name in named.items():
        if name is not None and name not in rows.columns:
            raise ConfigurationError(
                f"records.{field} = {name!r}: the log has no such column; it has"
                f" {', '.join(rows.columns)}. Remedy: correct the name."
            )
    event = _column(source.event_time).try_cast("timestamp").cast("date")
    inside, none = event.between(F.lit(start), F.lit(end)), event.isNull()
    if source.date is None:
        return rows.where(inside | none)
    # What the column says only narrows the reading, by a day more at each end.
    hint, day = _column(source.date).try_cast("date"), timedelta(days=1)
    near = hint.between(F.lit(start - day), F.lit(end + day))
    return rows.where((near & inside) | (none & hint.between(F.lit(start), F.lit(end))))


def mapped(rows: DataFrame, source: RecordsSource, day: date) -> DataFrame:
    """The log's rows with the columns of `forward_records`; `probability`, where that came instead
    of a logit; and `record`: each as it came.

    day: stands in for the event date where there is no event time. A value that does not cast is
    null here; `unreadable` says so.
    """
    prediction, kind = _column(source.prediction.column), source.prediction.kind
    answer = prediction.cast("array<float>") if kind == "logits" else prediction.try_cast("double")
    where = {"logits": "logits", "probability": "probability"}.get(kind, "prediction")
    event_time = _column(source.event_time).try_cast("timestamp")
    recorded = _column(source.recorded_at or source.event_time).try_cast("timestamp")
    version = source.model_version
    sketch = _column(source.sketch) if source.sketch else F.lit(None)
    keys = [F.coalesce(_column(name).cast("string"), F.lit("")) for name in source.segments]
    nothing = F.lit(None).cast("double")
    return rows.select(
        _column(source.instance_id).cast("string").alias("instance_id"),
        event_time.alias("event_time"),
        F.coalesce(event_time.cast("date"), F.lit(day)).alias("event_date"),
        (F.lit(version.value) if version.column is None else _column(version.column))
        .cast("string")
        .alias("model_version"),
        F.coalesce(recorded, event_time).alias("recorded_at"),
        *(
            (answer if name == where else F.lit(None).cast(type_)).alias(name)
            for name, type_ in _ANSWERS.items()
        ),
        nothing.alias("label"),
        nothing.alias("loss"),
        (F.array(*keys) if keys else F.array().cast("array<string>")).alias("segments"),
        sketch.cast("array<float>").alias("sketch"),
        (prediction.isNotNull() & answer.isNull()).alias("unreadable"),
        F.to_json(F.struct("*")).alias("record"),
    )


def judged(rows: DataFrame, pipeline: Pipeline) -> DataFrame:
    """`mapped` rows with their `fault`; probabilities become logits."""
    unreadable = F.when(F.col("unreadable"), F.lit(reasons.NOT_FINITE))
    fault = first_fault(rules_of(pipeline, probabilities=True).record)
    p = F.least(F.greatest("probability", F.lit(CLOSEST)), F.lit(1 - CLOSEST))
    came = F.col("fault").isNull() & F.col("probability").isNotNull()
    logit = F.when(came, F.log(p / (1 - p)))
    rows = rows.withColumns({"fault": F.coalesce(unreadable, fault), "batch_id": F.lit("")})
    rows = rows.withColumn("prediction", F.coalesce("prediction", logit))
    rows = rows.drop("unreadable", "probability")
    sound = rows.where("fault IS NULL")
    keys = [F.col(name).alias(f"_{name}") for name in KEY]
    differ = contradicting(sound).select(*keys).distinct().withColumn("_differ", F.lit(True))
    same = [F.col(name) == F.col(f"_{name}") for name in KEY]
    joined = rows.join(F.broadcast(differ), same, "left").drop(*(f"_{name}" for name in KEY))
    contradicts = F.when(F.col("_differ"), F.lit(reasons.DUPLICATE_DIFFERS))
    return joined.withColumn("fault", F.coalesce("fault", contradicts)).drop("_differ")


def _against_earlier(warehouse: Warehouse, rows: DataFrame, start: date, end: date) -> DataFrame:
    """The rows with `there`: whether an import has brought them before. One that says something
    else now has that as its `fault`: what is in the table stays."""
    imported = F.col("batch_id").startswith(f"{APPLICATION}/")
    dated = F.col("event_date").between(F.lit(start), F.lit(end))
    earlier = warehouse.read("forward_records").where(imported & dated)
    said = earlier.select(*KEY, content(earlier).alias("_said")).dropDuplicates(KEY)
    joined = rows.withColumn("_says", content(rows)).join(said, KEY, "left")
    changed = F.when(F.col("_said") != F.col("_says"), F.lit(reasons.DUPLICATE_DIFFERS))
    columns = {"fault": F.coalesce("fault", changed), "there": F.col("_said").isNotNull()}
    return joined.withColumns(columns).drop("_said", "_says")


def _new_rejects(warehouse: Warehouse, rows: DataFrame, batch: str) -> DataFrame:
    """The same of rejects; as a record may lack every key, it is known by its text."""
    imported = F.col("batch_id").startswith(f"{APPLICATION}/")
    there = warehouse.read("forward_rejects").where(imported).select("record")
    return rejects_of(rows, batch, record=F.col("record")).join(there, "record", "left_anti")


def _column(name: str) -> Column:
    return F.col(f"`{name}`")


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
