"""The rule of `candidates.in_sample` as Spark's column."""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import Column
from pyspark.sql import functions as F

_DAY = 86_400  # seconds


def was_in_sample(
    model_version: Column, recorded_at: Column, learnt_until: Mapping[str, datetime]
) -> Column:
    """Whether each record is in sample, by its `event_time`; see `in_sample.in_sample`."""
    event = F.col("event_time")
    late = (
        F.unix_micros(recorded_at) > (F.floor(F.unix_seconds(event) / _DAY) + 1) * _DAY * 1_000_000
    )
    known = [part for name, cut in learnt_until.items() for part in (F.lit(name), F.lit(cut))]
    if not known:
        return late
    cut = F.try_element_at(F.create_map(*known), model_version)
    return F.coalesce(cut > event, late)
