"""Segment keys of records that were made under another definition of the segments.

A record keeps its keys in the order of the pipeline file of its day, without their names. Where
that has changed since the window began, the instances say what the keys are by now. Without Spark,
but for the frames that are handed in.
"""

from datetime import date
from typing import TYPE_CHECKING

from deltalake.exceptions import TableNotFoundError

from schemas.manifests import read_segments
from schemas.pipeline import Pipeline
from schemas.places import within

if TYPE_CHECKING:  # `due`, which has no Spark, asks whether the definition has changed
    from pyspark.sql import DataFrame


def segments_changed(pipeline: Pipeline, warehouse: str, start: date) -> bool:
    """Whether records of the days from `start` on may have keys of another definition: by the
    refreshes of these days, and the last one before them."""
    try:
        known = read_segments(within(warehouse, "refreshes"), pipeline.name)
    except TableNotFoundError:
        return False
    since = [segments for ds, segments in known if ds >= start]
    before = [segments for ds, segments in known if ds < start][-1:]
    return {*since, *before} - {tuple(pipeline.instances.segments)} != set()


def with_keys_of(instances: "DataFrame", records: "DataFrame", segments: list[str]) -> "DataFrame":
    """The records with the keys of their instances; one without an instance has empty ones, and is
    refused for that."""
    from pyspark.sql import functions as F

    from spark_jobs.features.segments import segment_keys

    named = segment_keys(segments).alias("segments")
    keys = instances.select("instance_id", named).dropDuplicates(["instance_id"])
    nothing = F.array(*(F.lit("") for _ in segments)).cast("array<string>")
    joined = records.drop("segments").join(keys, "instance_id", "left")
    return joined.withColumn("segments", F.coalesce("segments", nothing))
