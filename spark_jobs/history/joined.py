"""Instances, records and labels side by side: whose is whose, when, and how many of each day."""

from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas import findings
from schemas.reasons import CLOCK_SKEW
from schemas.rules import rules_of
from spark_jobs.candidates.census_report import bootstrapped_days
from spark_jobs.candidates.coverage import Short, without_label, without_record
from spark_jobs.candidates.maturity import old_until
from spark_jobs.candidates.rejects import label_fault
from spark_jobs.history.data import Data
from spark_jobs.history.found import FEW, RowFinding, finding, named, row_faults

SKEW = CLOCK_SKEW // CLOCK_SKEW.resolution  # microseconds
HOUR = 3_600_000_000


def story(data: Data) -> DataFrame:
    """One row an id of any of the three tables: `asked`, `answered` and `told`, null where the id
    is not there, with the days and moments of each."""
    asked = data.instances.groupBy("instance_id").agg(
        F.min("event_date").alias("day"),
        F.min(F.unix_micros("event_time")).alias("asked"),
        F.max(F.unix_micros("event_time")).alias("asked_last"),
    )
    answered = data.records.groupBy("instance_id").agg(
        F.min("event_date").alias("record_day"),
        F.min(F.unix_micros("event_time")).alias("answered"),
    )
    usable = data.all_labels.withColumn("fault", label_fault(rules_of(data.pipeline).label))
    usable = usable.where(F.col("fault").isNull() & (F.col("known_at") <= F.lit(data.cut)))
    told = usable.groupBy("instance_id").agg(
        F.min("event_date").alias("label_day"),
        F.max("event_date").alias("last_label_day"),
        F.min(F.unix_micros("known_at")).alias("told"),
        F.count("label").alias("values"),
    )
    named = [one.where("instance_id != ''") for one in (asked, answered, told)]
    return named[0].join(named[1], "instance_id", "full").join(named[2], "instance_id", "full")


def look(data: Data, rows: DataFrame) -> list[RowFinding]:
    """Records and labels that are nobody's, or of another time than their instance. rows: as
    `story` gives them."""
    place = data.warehouse.path
    in_range = data.within(F.col("label_day"))
    asked = F.col("asked").isNotNull()
    name = F.col("instance_id")
    records = named(rows.where("answered IS NOT NULL"), name, F.col("record_day"))
    far = F.abs(F.col("answered") - F.col("asked")) > SKEW
    # An instance on two moments is told as that, and not as a record of another time.
    far &= F.col("asked") == F.col("asked_last")
    found = row_faults(
        records,
        "forward_records",
        place("forward_records"),
        {findings.ORPHAN: ~asked, findings.RECORD_TIME: asked & far},
    )
    labels = named(rows.where("told IS NOT NULL"), name, F.col("label_day"))
    otherwise = (F.col("label_day") != F.col("day")) | (F.col("last_label_day") != F.col("day"))
    found += row_faults(
        labels,
        "labels",
        place("labels"),
        {
            findings.LABEL_DATE: asked & otherwise,
            findings.LABEL_EARLY: asked & (F.col("told") < F.col("asked") - SKEW),
            findings.LABEL_UNKNOWN: ~asked & in_range,
        },
    )
    return [_with_shift(one, records) for one in found]


def _with_shift(one: RowFinding, records: DataFrame) -> RowFinding:
    """The finding with the commonest difference of times, where it is one of a time zone."""
    if one.kind != findings.RECORD_TIME:
        return one
    hours = F.round((F.col("answered") - F.col("asked")) / (HOUR / 4)) / 4
    far = records.where(F.abs(F.col("answered") - F.col("asked")) > SKEW)
    commonest = far.groupBy(hours.alias("hours")).count().orderBy(F.desc("count"), "hours").first()
    if commonest is None:
        return one
    says = f"{one.says}; {commonest['count']:,} of them by about {commonest['hours']:+g} hours"
    return RowFinding(**(one.as_dict() | {"says": says}))


def by_day(data: Data, rows: DataFrame) -> list[dict[str, Any]]:
    """Coverage of each day of instances, as a report has it."""
    rule = data.pipeline.labels
    labelled = F.col("values") > 0
    if rule.maturity == "window":  # a label that has not come is one by then
        until = int(old_until(rule, data.cut).timestamp() * 1_000_000)
        labelled = F.coalesce(labelled, F.lit(False)) | (F.col("asked") <= until)
    answered = F.col("answered").isNotNull()
    counts = (
        rows.where("asked IS NOT NULL AND day IS NOT NULL")
        .groupBy("day")
        .agg(
            F.count("*").alias("instances"),
            F.count_if(answered).alias("recorded"),
            F.count_if(answered).alias("records"),
            F.count_if(answered & labelled).alias("labelled"),
        )
    )
    days = {row["day"]: row.asDict() for row in counts.collect()}
    has_record = {day: row["recorded"] > 0 for day, row in days.items()}
    first = bootstrapped_days(data.warehouse, has_record)
    return [
        {**row, "day": str(day), "bootstrapped": day in first} for day, row in sorted(days.items())
    ]


def short_days(data: Data, days: list[dict[str, Any]]) -> list[RowFinding]:
    """The days that have too few records or labels. Those after the last record are not scored yet,
    unless the range ends later."""
    limits = data.pipeline.check.model_dump()
    last = max((one["day"] for one in days if one["recorded"]), default="")
    until = last if data.end is None else str(data.end)
    asked = [one for one in days if one["day"] <= until] if last else days
    records = without_record(asked, limits)
    labels = without_label(asked, limits, data.cut.date())
    return [
        *_short(data, findings.NO_RECORD, "instances", records),
        *_short(data, findings.NO_LABEL, "labels", labels),
    ]


def _short(data: Data, kind: str, table: str, days: Sequence[Short]) -> list[RowFinding]:
    if not days:
        return []
    said = "; ".join(map(str, days[:FEW]))
    missing = sum(day.of - day.have for day in days)
    says = f"missing: {findings.KINDS[kind].says} ({said})"
    names = [day.day for day in days[:FEW]]
    return [finding(kind, table, data.warehouse.path(table), missing, says=says, days=names)]


def delays(rows: DataFrame) -> dict[str, float | None]:
    """Hours from the event until its first label, by quantile."""
    hours = (F.col("told") - F.col("asked")) / HOUR
    levels = {"median": 0.5, "p90": 0.9, "p99": 0.99}
    found = rows.where("told IS NOT NULL AND asked IS NOT NULL").agg(
        *(F.percentile_approx(hours, level).alias(name) for name, level in levels.items())
    )
    row = found.first()
    return dict.fromkeys(levels) if row is None else row.asDict()
