"""Faults of `forward_records` and `labels` by themselves: what `select` would refuse of them."""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas import findings
from schemas.reasons import DUPLICATE_DIFFERS, LABEL_DIFFERS, REASONS
from schemas.rules import rules_of
from spark_jobs.candidates.content import KEY
from spark_jobs.candidates.rejects import (
    LABEL_KEY,
    content,
    label_fault,
    record_fault,
    said_by,
)
from spark_jobs.history.data import Data, any_null, in_the_future
from spark_jobs.history.found import KIND, RowFinding, examples, finding, named, row_faults
from spark_jobs.refresh.defined import segments_changed
from spark_jobs.refresh.registered import models_of
from spark_jobs.storage.settle import letting_go


def look_at_records(data: Data) -> list[RowFinding]:
    """Records that cannot be used, a finding a reason."""
    models = models_of(data.pipeline, data.warehouse.root)
    changed = segments_changed(data.pipeline, data.warehouse.root, date.min)
    rules = rules_of(data.pipeline, models.accepted, any_segments=changed)
    judged = data.records.withColumn("fault", record_fault(rules.record))
    sound = judged.where("fault IS NULL")
    twice = _differing(sound.withColumn("said", content(sound)), KEY)
    return _refused(data, "forward_records", findings.BAD_RECORDS, judged, twice, DUPLICATE_DIFFERS)


def look_at_labels(data: Data) -> list[RowFinding]:
    """Labels that cannot be used, a finding a reason; those without a date, or of the future."""
    judged = data.labels.withColumn("fault", label_fault(rules_of(data.pipeline).label))
    sound = judged.where("fault IS NULL")
    twice = _differing(sound.withColumn("said", content(sound, said_by(sound))), LABEL_KEY)
    found = _refused(data, "labels", findings.BAD_LABELS, judged, twice, LABEL_DIFFERS)
    rows = named(data.labels, F.col("instance_id"), F.col("event_date"))
    faults = {
        findings.NULL_KEY: any_null(["instance_id", "known_at", "event_date"]),
        findings.FUTURE: in_the_future("known_at"),
    }
    return found + row_faults(rows, "labels", data.warehouse.path("labels"), faults)


def _differing(rows: DataFrame, key: tuple[str, ...]) -> DataFrame:
    """instance_id, event_date and the number of `rows` of each key whose rows say other things."""
    apart = rows.groupBy(*key).agg(
        (F.min("said") != F.max("said")).alias("differ"),
        F.count("*").alias("rows"),
        F.first("event_date").alias("event_date"),
    )
    return apart.where("differ")


def _refused(
    data: Data, table: str, kind: str, judged: DataFrame, twice: DataFrame, differs: str
) -> list[RowFinding]:
    """The findings of judged rows, with `fault`, and of keys whose rows differ."""
    of_fault = judged.groupBy("fault").count().collect()
    total = sum(row["count"] for row in of_fault)
    counts = {row["fault"]: row["count"] for row in of_fault if row["fault"] is not None}
    few = examples(_named(judged.where("fault IS NOT NULL"), F.col("fault"))) if counts else {}
    with letting_go() as keep:
        twice = keep(twice.persist())
        contradicting = twice.agg(F.sum("rows")).first()
        if contradicting is not None and contradicting[0]:
            counts[differs] = contradicting[0]
            few |= examples(_named(twice, F.lit(differs)))
    allowed = data.pipeline.selection.max_reject_share * total
    return [
        finding(
            kind,
            table,
            data.warehouse.path(table),
            count,
            severity="error" if count > allowed else "warning",
            says=f"rows that select refuses: {REASONS[reason]}",
            reason=reason,
            **few[reason],
        )
        for reason, count in sorted(counts.items())
    ]


def _named(rows: DataFrame, kind: Column) -> DataFrame:
    return named(rows, F.col("instance_id"), F.col("event_date")).withColumn(KIND, kind)
