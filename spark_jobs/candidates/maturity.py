"""When a label counts, seen from the cut: the rules of `schemas.sections.store.Labels`.

Spark says of each row, by its event time, which labels would count; the labels themselves meet the
records later, in arrays (`assemble`), or in Spark for the hold-out and the bootstrap.
"""

from datetime import datetime
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.sections.section import parse_duration
from schemas.sections.store import Labels
from spark_jobs.selection.arrays import Array


class Counting(IntEnum):
    """Which labels of an instance count."""

    NONE = 0
    POSITIVE = 1
    ANY = 2
    ABSENT_IS_NEGATIVE = 3


# (young, old): what counts before and from the moment when the event is `after` old.
RULES = {
    "arrival": (Counting.ANY, Counting.ANY),
    "delay": (Counting.NONE, Counting.ANY),
    "window": (Counting.POSITIVE, Counting.ABSENT_IS_NEGATIVE),
}


def counting(rule: Labels | None, cut: datetime) -> Column:
    """`Counting` of each row by its `event_time`, as a byte; without a rule, on arrival."""
    young, old = RULES["arrival" if rule is None else rule.maturity]
    if rule is None or rule.after is None:
        return F.lit(int(old)).cast("tinyint")
    since = F.lit(cut - parse_duration(rule.after))
    return F.when(F.col("event_time") <= since, int(old)).otherwise(int(young)).cast("tinyint")


def with_labels(asked: DataFrame, known: DataFrame, rule: Labels, cut: datetime) -> DataFrame:
    """`asked` with the label of each, where one counts; the others are left out.

    asked: instance_id, event_time, ...; known: instance_id, label.
    """
    label, counts = F.col("label"), counting(rule, cut)
    absent = F.when(counts == int(Counting.ABSENT_IS_NEGATIVE), F.lit(0.0))
    matured = (
        F.when(counts == int(Counting.NONE), F.lit(None))
        .when((counts == int(Counting.POSITIVE)) & (label <= 0), F.lit(None))
        .otherwise(F.coalesce(label, absent))
    )
    joined = asked.join(known, "instance_id", "left").withColumn("label", matured)
    return joined.where(F.col("label").isNotNull())


def where_counted(label: pa.Array, counts: Array) -> pa.Array:
    """Labels (n,) where they count by `counts` (n,), else null."""
    if (counts == Counting.ANY).all():
        return label
    known = np.asarray(label.is_valid())
    values = pc.fill_null(label, 0.0).to_numpy(zero_copy_only=False)
    shown = (
        ((counts == Counting.ANY) & known)
        | ((counts == Counting.POSITIVE) & known & (values > 0))
        | (counts == Counting.ABSENT_IS_NEGATIVE)
    )
    return pa.array(values, pa.float64(), mask=~shown)
