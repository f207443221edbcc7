"""Which instances may be drawn, and what selection reads of them: DataFrames in and out."""

from datetime import date, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_HOLDOUT_STEPS = 1_000_000
LARGEST = 1e30


def held_out(share: float) -> Column:
    """True for the share of ids that is never trained on: a hash of the id and nothing else."""
    place = F.pmod(F.xxhash64("instance_id", F.lit("holdout")), F.lit(_HOLDOUT_STEPS))
    return place < F.lit(round(share * _HOLDOUT_STEPS))


def in_window(rows: DataFrame, start: date, end: date) -> DataFrame:
    """Rows whose event date is in [start, end]."""
    return rows.where(F.col("event_date").between(F.lit(start), F.lit(end)))


def labels_as_of(labels: DataFrame, label: str, cut: datetime) -> DataFrame:
    """The newest label of each instance that was known by `cut`: instance_id, label."""
    known = labels.where(F.col("known_at") <= F.lit(cut))
    newest = F.max_by(F.col(label), F.struct("known_at", label)).alias("label")
    return known.groupBy("instance_id").agg(newest.cast("double").alias("label"))


def finite_label() -> Column:
    """True where the column label, if there is one, is a finite number."""
    return F.coalesce(F.col("label").between(-LARGEST, LARGEST), F.lit(True))


def usable() -> Column:
    """True where prediction, logits, label and sketch are finite numbers."""

    def array_finite(name: str) -> Column:
        inside = (F.array_min(name) >= -LARGEST) & (F.array_max(name) <= LARGEST)
        return F.coalesce(inside, F.lit(True))  # null where there is no array

    prediction = F.col("prediction").between(-LARGEST, LARGEST)
    present = F.col("prediction").isNotNull() | F.col("logits").isNotNull()
    return (
        F.coalesce(prediction, F.lit(True))
        & present
        & finite_label()
        & array_finite("logits")
        & array_finite("sketch")
    )


def narrow(records: DataFrame, labels: DataFrame, cut: datetime, *, sketch: bool) -> DataFrame:
    """Records and the labels known by `cut`, in one narrow table for `assemble`.

    records: `forward_records`; labels: instance_id, known_at, label. Without `sketch` that column,
    the widest, is not read. Of equal moments the larger `tie` is newer.
    """
    nothing = F.lit(None)
    logged = records.select(
        F.lit(False).alias("is_label"),
        usable().alias("usable"),
        "instance_id",
        "event_time",
        "model_version",
        "prediction",
        "logits",
        "segments",
        F.col("sketch") if sketch else nothing.cast("array<float>").alias("sketch"),
        nothing.cast("double").alias("label"),
        F.unix_micros("recorded_at").alias("moment"),
        F.xxhash64("model_version", "batch_id").alias("tie"),
    )
    known = labels.where(F.col("known_at") <= F.lit(cut)).select(
        F.lit(True).alias("is_label"),
        finite_label().alias("usable"),
        "instance_id",
        F.col("label").cast("double").alias("label"),
        F.unix_micros("known_at").alias("moment"),
    )
    return logged.unionByName(known, allowMissingColumns=True)
