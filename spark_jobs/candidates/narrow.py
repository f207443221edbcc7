"""Which instances may be drawn, and what selection reads of them: DataFrames in and out."""

from datetime import date, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.rules import Rules
from schemas.sections.store import Labels
from spark_jobs.candidates.rejects import first_fault
from spark_jobs.candidates.spark_maturity import counting

_HOLDOUT_STEPS = 1_000_000


def held_out(share: float) -> Column:
    """True for the share of ids that is never trained on: a hash of the id and nothing else."""
    place = F.pmod(F.xxhash64("instance_id", F.lit("holdout")), F.lit(_HOLDOUT_STEPS))
    return place < F.lit(round(share * _HOLDOUT_STEPS))


def forward_share(holdout: float, window_days: int, forward_days: int) -> float:
    """The share of the forward days' ids to judge by: about as many rows as the hold-out has."""
    return min(1.0, holdout * window_days / forward_days)


def in_window(rows: DataFrame, start: date, end: date) -> DataFrame:
    """Rows whose event date is in [start, end]."""
    return rows.where(F.col("event_date").between(F.lit(start), F.lit(end)))


def labels_as_of(labels: DataFrame, label: str, cut: datetime) -> DataFrame:
    """The newest label of each instance that was known by `cut`: instance_id, label."""
    known = labels.where(F.col("known_at") <= F.lit(cut))
    newest = F.max_by(F.col(label), F.struct("known_at", label)).alias("label")
    return known.groupBy("instance_id").agg(newest.cast("double").alias("label"))


def narrow(
    records: DataFrame,
    labels: DataFrame,
    cut: datetime,
    *,
    sketch: bool,
    rules: Rules = Rules(),  # noqa: B008 - it is frozen
    maturity: Labels | None = None,
) -> DataFrame:
    """Records and the labels known by `cut`, in one narrow table for `assemble`.

    records: `forward_records`; labels: instance_id, known_at, label. `fault` says which of them
    cannot be used, and why; `counting` which labels count by the rule `maturity`, on arrival where
    none is given. Without `sketch` that column,
    the widest, is not read. Of equal moments the larger `tie` is newer.
    """
    nothing = F.lit(None)
    logged = records.select(
        F.lit(False).alias("is_label"),
        first_fault(rules.record).alias("fault"),
        "instance_id",
        "event_time",
        "model_version",
        "prediction",
        "logits",
        "statistics",
        "segments",
        counting(maturity, cut).alias("counting"),
        F.col("sketch") if sketch else nothing.cast("array<float>").alias("sketch"),
        nothing.cast("double").alias("label"),
        F.unix_micros("recorded_at").alias("moment"),
        F.xxhash64("model_version", "batch_id").alias("tie"),
    )
    known = labels.where(F.col("known_at") <= F.lit(cut)).select(
        F.lit(True).alias("is_label"),
        first_fault(rules.label).alias("fault"),
        "instance_id",
        F.col("label").cast("double").alias("label"),
        F.unix_micros("known_at").alias("moment"),
    )
    return logged.unionByName(known, allowMissingColumns=True)
