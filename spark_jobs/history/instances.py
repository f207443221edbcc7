"""Faults of the table `instances`: ids that stand twice, dates, keys, days without any."""

from datetime import timedelta

from pyspark.sql import functions as F

from schemas import findings
from spark_jobs.candidates.rejects import content, is_dated_otherwise
from spark_jobs.history.data import WRITTEN, Data, any_null, in_the_future, not_a_number
from spark_jobs.history.found import DAY, ID, KIND, RowFinding, examples, finding, named, row_faults
from spark_jobs.storage.settle import letting_go

TABLE = "instances"


def look(data: Data) -> list[RowFinding]:
    """Every finding about instances."""
    return [*_rows(data), *_ids(data), *_days(data)]


def _rows(data: Data) -> list[RowFinding]:
    pipeline = data.pipeline
    entities = sorted({key for view in pipeline.feature_views for key in view.entity})
    types = {name: spec.type for name, spec in pipeline.instances.columns.items()}
    rows = named(data.instances, F.col("instance_id"), F.col("event_date"))
    faults = {
        findings.NULL_KEY: any_null(["instance_id", "event_time", "event_date"]),
        findings.INSTANCE_DATE: is_dated_otherwise(),
        findings.FUTURE: in_the_future("event_time"),
        findings.NULL_ENTITY: any_null(entities),
        findings.NAN: not_a_number(types),
    }
    return row_faults(rows, TABLE, data.warehouse.path(TABLE), faults)


def _ids(data: Data) -> list[RowFinding]:
    """Ids that stand on several rows: the same each time, differing, or for another event."""
    columns = [name for name in data.instances.columns if name != WRITTEN]
    said = content(data.instances, columns).alias("said")
    rows = data.instances.where("instance_id IS NOT NULL")
    rows = rows.select("instance_id", "event_time", "event_date", said)
    twice = (
        rows.groupBy("instance_id")
        .agg(
            F.count("*").alias("rows"),
            (F.min("said") != F.max("said")).alias("differ"),
            (F.min("event_time") != F.max("event_time")).alias("moved"),
            F.max("event_date").alias(DAY),
        )
        .where("rows > 1")
        .select(
            F.col("instance_id").alias(ID),
            DAY,
            F.when(F.col("moved"), findings.REUSED)
            .when(F.col("differ"), findings.DIFFERS)
            .otherwise(findings.REPEATED)
            .alias(KIND),
        )
    )
    with letting_go() as keep:
        twice = keep(twice.persist())
        counts = {row[KIND]: row["count"] for row in twice.groupBy(KIND).count().collect()}
        path, few = data.warehouse.path(TABLE), examples(twice) if counts else {}
    return [finding(kind, TABLE, path, count, **few[kind]) for kind, count in counts.items()]


def _days(data: Data) -> list[RowFinding]:
    """Days without traffic, from the table's log."""
    counts = data.warehouse.rows_by_date(TABLE, data.versions[TABLE])
    there = sorted(day for day, count in counts.items() if count and data.holds(day))
    if not there:
        return []
    span = range((there[-1] - there[0]).days)
    gaps = sorted({there[0] + timedelta(days=number) for number in span} - set(there))
    if not gaps:
        return []
    path, days = data.warehouse.path(TABLE), [str(day) for day in gaps[:5]]
    return [finding(findings.NO_TRAFFIC, TABLE, path, len(gaps), days=days)]
