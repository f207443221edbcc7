"""The census of a window the obvious way, in Spark SQL: what `candidates.census` is checked
against, and what the benchmark's baseline counts."""

from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


class SlowCensus(NamedTuple):
    """Records that have an instance, and what was counted."""

    records: DataFrame
    repeated: int  # ids of instances on several rows
    orphans: int  # records without an instance
    days: dict[str, tuple[int, int]]  # instances and those with a record, by event date
    found: dict[str, int]  # labels and records of another time than their instance


def census(
    instances: DataFrame, records: DataFrame, every_record: DataFrame, labels: DataFrame
) -> SlowCensus:
    """Count them. records: those drawn from, of `every_record` of the window."""
    asked = instances.groupBy("instance_id").agg(
        F.first("event_date").alias("asked_day"),
        F.first("event_time").alias("asked_at"),
        F.count("*").alias("rows"),
    )
    beside = records.join(asked, "instance_id", "left")
    skew = F.expr("INTERVAL 5 MINUTES")
    apart = F.abs(F.unix_micros("event_time") - F.unix_micros("asked_at")) > 300_000_000
    [(orphans, moved)] = beside.agg(F.count_if(F.expr("rows IS NULL")), F.count_if(apart)).collect()
    told = labels.join(asked, "instance_id", "left")
    [(strangers, dated, early)] = told.agg(
        F.count_if(F.expr("rows IS NULL")),
        F.count_if(F.expr("event_date != asked_day")),
        F.count_if(F.col("known_at") < F.col("asked_at") - skew),
    ).collect()
    answered = every_record.select("instance_id").distinct().withColumn("answered", F.lit(True))
    by_day = (
        asked.join(answered, "instance_id", "left")
        .groupBy("asked_day")
        .agg(
            F.count("*").alias("instances"),
            F.count("answered").alias("recorded"),
            F.count_if(F.expr("rows > 1")).alias("repeated"),
        )
        .collect()
    )
    return SlowCensus(
        beside.where("rows IS NOT NULL").select(*records.columns),
        sum(row["repeated"] for row in by_day),
        orphans,
        {str(row["asked_day"]): (row["instances"], row["recorded"]) for row in by_day},
        {
            "record-time": moved,
            "label-without-instance": strangers,
            "label-date": dated,
            "label-before-event": early,
        },
    )
