"""Segment keys of an instance, in the order that the pipeline declares."""

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F


def segment_keys(names: Sequence[str]) -> Column:
    """The segment keys of an instance, in the order declared; empty where there is none."""
    keys = [F.coalesce(F.col(name).cast("string"), F.lit("")) for name in names]
    return F.array(*keys) if keys else F.array().cast("array<string>")
