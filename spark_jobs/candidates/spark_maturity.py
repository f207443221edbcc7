"""The maturity of `candidates.maturity` as Spark's columns."""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.sections.store import Labels
from spark_jobs.candidates.maturity import Counting, ages, old_until


def counting(rule: Labels | None, cut: datetime) -> Column:
    """`Counting` of each row by its `event_time`, as a byte."""
    young, old = ages(rule)
    if young == old:
        return F.lit(int(old)).cast("tinyint")
    is_old = F.col("event_time") <= F.lit(old_until(rule, cut))
    return F.when(is_old, int(old)).otherwise(int(young)).cast("tinyint")


def with_labels(asked: DataFrame, known: DataFrame, rule: Labels, cut: datetime) -> DataFrame:
    """`asked` with the label of each, where one counts; the others are left out."""
    return counted(asked, known, rule, cut).where(F.col("label").isNotNull())


def counted(asked: DataFrame, known: DataFrame, rule: Labels, cut: datetime) -> DataFrame:
    """`asked` with the label of each, null where none counts.

    asked: instance_id, event_time, ...; known: as `narrow.labels_as_of` gives it. An instance whose
    labels were all refused is not one without a label.
    """
    label = F.col("label")
    asks = (
        F.when(F.col("refused"), int(Counting.ABSENT_IS_NEGATIVE) + 1)
        .when(label.isNotNull(), int(Counting.ANY))
        .otherwise(int(Counting.ABSENT_IS_NEGATIVE))
    )
    counts = F.when(counting(rule, cut) >= asks, F.coalesce(label, F.lit(0.0)))
    return asked.join(known, "instance_id", "left").withColumn("label", counts).drop("refused")
