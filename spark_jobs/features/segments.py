"""Segment keys of an instance, in the order that the pipeline declares."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def segment_keys(names: Sequence[str]) -> Column:
    """The segment keys of an instance, in the order declared; empty where there is none."""
    keys = [F.coalesce(F.col(name).cast("string"), F.lit("")) for name in names]
    return F.array(*keys) if keys else F.array().cast("array<string>")


def with_keys_of(instances: DataFrame, records: DataFrame, names: Sequence[str]) -> DataFrame:
    """The records with the segment keys of their instances; one without an instance has empty
    ones, and is refused for that."""
    named = segment_keys(names).alias("segments")
    keys = instances.select("instance_id", named).dropDuplicates(["instance_id"])
    nothing = F.array(*(F.lit("") for _ in names)).cast("array<string>")
    joined = records.drop("segments").join(keys, "instance_id", "left")
    return joined.withColumn("segments", F.coalesce("segments", nothing))
