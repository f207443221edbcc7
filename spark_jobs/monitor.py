"""Monitor: how the served models do, by day and segment, from their records and the labels.

    spark-submit --py-files dist/tenforward.zip spark_jobs/monitor.py \\
        --pipeline pipelines/flights.toml --ds 2013-02-01

No model is asked again. Rows are appended to `performance`, each at most once, and a page shows all
of them over time. Beyond a limit of `[monitor]` the command ends with 4.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
from pyspark import StorageLevel

from schemas.command import (
    add_common_arguments,
    parse_date,
    pipeline_of,
    require_order,
    require_over,
    run_command,
)
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from schemas.log import about, log
from schemas.pipeline import Pipeline
from schemas.progress import step
from spark_jobs.monitoring import served, webhook
from spark_jobs.monitoring.levels import ALL
from spark_jobs.monitoring.limits import Passed, passed
from spark_jobs.monitoring.page import MOST_DAYS, write_page_of
from spark_jobs.monitoring.performance import Row, as_of, news, put_together, read_performance
from spark_jobs.monitoring.served import TABLES, Span
from spark_jobs.refresh.plan import cut_of, window_start
from spark_jobs.refresh.registered import models_of
from spark_jobs.storage.creation import create_missing
from spark_jobs.storage.warehouse import Warehouse

TABLE = "performance"


def monitor(warehouse: Warehouse, start: date, end: date) -> dict[str, Any]:
    """Measure the days from `start` to `end`, both included, with the labels known by the end of
    the last; the result of the command.

    A row is added where it says something that no earlier cut said. Raises NoDataError where the
    days have no record that can be used, ConflictError where another run measures at the same cut.
    """
    pipeline = warehouse.pipeline
    about(pipeline=pipeline.name, ds=end)
    url = webhook.address()
    warehouse.require(TABLE, *TABLES)
    if not warehouse.exists(TABLE):  # a release without it made the warehouse
        create_missing(warehouse)
    span = span_of(warehouse, start, end)
    if not _rows_read(warehouse, "forward_records", span, start):
        raise _no_data(span)
    application = f"monitor/{span.cut.isoformat()}"
    number = warehouse.next_number(TABLE, application)
    known = as_of(read_performance(warehouse.path(TABLE), start, end), span.cut)
    with step(f"measuring {start} to {end}"):
        rows = measure(warehouse, span)
    new = news(rows, known)
    if new:
        frame = warehouse.spark.createDataFrame(_arrow(warehouse, new))
        warehouse.append_numbered(frame, TABLE, application, number)
    every = read_performance(warehouse.path(TABLE), min(start, end - MOST_DAYS))
    own = [row for row in every if row["cut"] == span.cut and start <= row["event_date"] <= end]
    beyond = passed(own, pipeline.monitor, pipeline.instances.segments)
    with step("writing the page"):
        page = write_page_of(warehouse, every, beyond)
    result = {
        "status": "done" if new else "already done",
        **_named(pipeline, span),
        "rows": len(new),
        "days": [_day(row) for row in rows if row["segment"] == ALL],
        "page": page,
        "inputs": warehouse.placed(span.versions),
        "outputs": warehouse.placed({TABLE: warehouse.version(TABLE)}),
    }
    return result | (_alarm(pipeline, beyond, url) if beyond else {})


def span_of(warehouse: Warehouse, start: date, end: date) -> Span:
    """The days, their cut, and the versions that the tables have now."""
    return Span(start, end, cut_of(end), {name: warehouse.version(name) for name in TABLES})


def measure(warehouse: Warehouse, span: Span) -> list[dict[str, Any]]:
    """The rows of `performance` of a span. Raises NoDataError where it has none."""
    models = models_of(warehouse.pipeline, warehouse.root)
    records = served.usable_records(warehouse, span, models)
    answers = served.answers(warehouse, records, span, models)
    answers.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        levels = served.levels(answers, warehouse, span)
        sketches = served.sketch_sums(answers)
    finally:
        answers.unpersist()
    covered = served.coverage(warehouse, records, span)
    keys = warehouse.pipeline.instances.segments
    rows = put_together(levels, sketches, covered, span.start, span.cut, keys)
    if not rows:
        raise _no_data(span)
    return rows


def _no_data(span: Span) -> NoDataError:
    return NoDataError(
        f"{span.start} to {span.end}: no record that can be used and is out of sample. Remedy:"
        " score these days, or give others."
    )


def _rows_read(warehouse: Warehouse, name: str, span: Span, first: date) -> int:
    """Rows of a table from day `first` on, from its log alone."""
    dates = warehouse.rows_by_date(name, span.versions[name], span.versions["instances"]).items()
    return sum(count for day, count in dates if first <= day <= span.end)


def _arrow(warehouse: Warehouse, rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), warehouse.tables[TABLE].arrow_schema)


def _named(pipeline: Pipeline, span: Span) -> dict[str, Any]:
    return {
        "pipeline": pipeline.name,
        "start": span.start,
        "end": span.end,
        "cut": span.cut.isoformat(),
    }


_SHOWN = (
    *("event_date", "model_version", "instances", "recorded", "records", "matured"),
    *("loss", "expected_loss_matured", "expected_loss", "auc", "calibration_ratio"),
    "prediction_drift",
)


def _day(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in _SHOWN}


def _alarm(pipeline: Pipeline, beyond: Sequence[Passed], url: str | None) -> dict[str, Any]:
    """What the result says of the limits that were passed, once a webhook has been told."""
    for one in beyond:
        log.error("%s", one)
    told: dict[str, Any] = {"beyond": [one._asdict() for one in beyond]}
    if url is not None:
        more = f" (and {len(beyond) - 1} more)" if len(beyond) > 1 else ""
        failure = webhook.send(url, f"tenforward monitor, {pipeline.name}: {beyond[0]}{more}")
        if failure is not None:
            log.error("%s", failure)
        told["webhook"] = "sent" if failure is None else failure
    return {"status": "beyond limits", **told, "exit_code": DataQualityError.exit_code}


def planned(warehouse: Warehouse, start: date, end: date) -> dict[str, Any]:
    """What the command would read, from the logs of the tables, without Spark."""
    warehouse.require(TABLE, *TABLES)
    span = span_of(warehouse, start, end)

    first = {"forward_records": span.first}
    read = {name: _rows_read(warehouse, name, span, first.get(name, start)) for name in TABLES}
    reference = [span.first, start - timedelta(days=1)]
    return {"status": "planned", **_named(warehouse.pipeline, span), "reference": reference} | {
        "rows_read": read
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward monitor",
        description="How the served models do, by day and segment, from records and labels alone.",
    )
    add_common_arguments(line)
    line.add_argument(
        "--ds", type=parse_date, help="the last day of a window of selection.window_days"
    )
    line.add_argument("--start", type=parse_date, metavar="DATE", help="first event date, UTC")
    line.add_argument(
        "--end", type=parse_date, metavar="DATE", help="last event date, whose end is the cut"
    )
    line.add_argument("--dry-run", action="store_true", help="say what would be read, then stop")
    return line


def days_of(args: argparse.Namespace, pipeline: Pipeline) -> tuple[date, date]:
    """The first and the last day that a command line asks for. Raises ConfigurationError."""
    if args.ds is not None and args.start is None and args.end is None:
        require_over(args.ds)
        return window_start(pipeline, args.ds), args.ds
    if args.ds is not None or args.start is None or args.end is None:
        raise ConfigurationError(
            f"--ds {args.ds}, --start {args.start}, --end {args.end}: which days? Remedy: give"
            " --ds, or both --start and --end."
        )
    require_order(args.start, args.end)
    require_over(args.end, "--end")
    return args.start, args.end


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> records and labels -> rows of `performance`, the page."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    start, end = days_of(args, pipeline)
    warehouse = Warehouse(args.warehouse, pipeline)
    return planned(warehouse, start, end) if args.dry_run else monitor(warehouse, start, end)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
