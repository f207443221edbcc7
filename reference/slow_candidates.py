"""Candidates the obvious way, in Spark SQL: what `candidates.assemble` is checked against."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.rules import Rules
from spark_jobs.candidates.narrow import labels_as_of


def newest_records(records: DataFrame) -> DataFrame:
    """One record an instance: the one written last."""
    columns = [c for c in records.columns if c not in ("instance_id", "label", "loss")]
    tie = F.xxhash64("model_version", "batch_id")
    newest = F.max_by(F.struct(*columns), F.struct("recorded_at", tie))
    chosen = records.groupBy("instance_id").agg(newest.alias("record"))
    return chosen.select("instance_id", "record.*")


def candidates(records: DataFrame, labels: DataFrame, label: str, cut: datetime) -> DataFrame:
    """Newest records with the newest label known by the cut."""
    known = labels_as_of(labels, {"label": label}, cut, Rules()).where("label IS NOT NULL")
    return newest_records(records).join(known, "instance_id", "inner")
