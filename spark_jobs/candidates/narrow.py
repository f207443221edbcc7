"""Which instances may be drawn, and what selection reads of them: DataFrames in and out."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.rules import Rules
from schemas.sections.store import Labels
from spark_jobs.candidates.arrow_narrow import HOLDOUT_STEPS
from spark_jobs.candidates.census import DAY, ROLE, Role
from spark_jobs.candidates.propensities import propensity
from spark_jobs.candidates.rejects import (
    content,
    first_fault,
    label_fault,
    label_faults,
    record_fault,
    said_by,
)
from spark_jobs.candidates.spark_maturity import counting


class Frame(NamedTuple):
    """What a census counts beside labels: the instances of the window, and all its records, of
    which those of `others` are not drawn from: held out, or of later days."""

    instances: DataFrame
    records: DataFrame
    others: Column


def held_out(share: float) -> Column:
    """True for the share of ids that is never trained on: a hash of the id and nothing else."""
    place = F.pmod(F.xxhash64("instance_id", F.lit("holdout")), F.lit(HOLDOUT_STEPS))
    return place < F.lit(round(share * HOLDOUT_STEPS))


def forward_share(holdout: float, window_days: int, forward_days: int) -> float:
    """The share of the forward days' ids to judge by: about as many rows as the hold-out has."""
    return min(1.0, holdout * window_days / forward_days)


def in_window(rows: DataFrame, start: date, end: date) -> DataFrame:
    """Rows whose event date is in [start, end]."""
    return rows.where(F.col("event_date").between(F.lit(start), F.lit(end)))


def known_as(names: Mapping[str, str]) -> list[Column]:
    """The columns of a label as selection names and reads them. names: `Labels.known_as`."""
    return [F.col(column).cast("double").alias(name) for name, column in names.items()]


def labels_as_of(
    labels: DataFrame, names: Mapping[str, str], cut: datetime, rules: Rules
) -> DataFrame:
    """The newest usable label of each instance that was known by `cut`: instance_id, label and
    what else is in `names`, and `refused`: whether it had labels, none of them usable.

    names: `Labels.known_as`, of columns that `rules` judge.
    """
    known = labels.where(F.col("known_at") <= F.lit(cut))
    named = known.select("instance_id", "known_at", *known_as(names))
    # The one shuffle serves the contradictions as well as the newest.
    judged = label_faults(named.repartition("instance_id"), rules.label)
    usable = F.col("fault").isNull()
    newest = F.when(usable, F.col("known_at"))
    return judged.groupBy("instance_id").agg(
        *(F.max_by(name, newest).alias(name) for name in names),
        F.every(~usable).alias("refused"),
    )


def narrow(
    records: DataFrame,
    labels: DataFrame,
    cut: datetime,
    *,
    sketch: bool,
    rules: Rules = Rules(),  # noqa: B008 - it is frozen
    maturity: Labels | None = None,
    asked: Frame | None = None,
) -> DataFrame:
    """Records and the labels known by `cut`, in one narrow table for `assemble`; where `asked` is
    given, whose records these are, with its instances, for a census.

    records: `forward_records`; labels: instance_id, known_at, label, and row_weight where rows have
    weights of their own. `fault` says which of them cannot be used, and why; `counting` which
    labels count by the rule `maturity`, on arrival where none is given. Without `sketch` that
    column, the widest, does not come along. Of equal moments the larger `tie` is newer; rows that
    have both the same must have the same `content`.
    """
    nothing = F.lit(None)
    fault, carried = first_fault(rules.record), F.col("sketch") if sketch else nothing
    role: list[Column] = []
    dated = [] if asked is None else [F.unix_date("event_date").alias(DAY)]
    if asked is not None:
        role = [F.when(asked.others, int(Role.ANSWERED)).cast("tinyint").alias(ROLE)]
        fault = F.when(~asked.others, record_fault(rules.record))
        carried = F.when(~asked.others, carried)
        records = records.where(~asked.others | F.col("instance_id").isNotNull())
    logged = records.select(
        *role,
        *dated,
        F.lit(False).alias("is_label"),
        fault.alias("fault"),
        content(records).alias("content"),
        "instance_id",
        "event_time",
        "model_version",
        "prediction",
        "logits",
        "statistics",
        "segments",
        counting(maturity, cut).alias("counting"),
        carried.cast("array<float>").alias("sketch"),
        propensity(records).alias("propensity"),
        nothing.cast("double").alias("label"),
        F.unix_micros("recorded_at").alias("moment"),
        F.xxhash64("model_version", "batch_id").alias("tie"),
    )
    known = _narrow_labels(labels.where(F.col("known_at") <= F.lit(cut)), rules, dated)
    rows = logged.unionByName(known, allowMissingColumns=True)
    return rows if asked is None else rows.unionByName(_narrow_instances(asked.instances), True)


def _narrow_labels(labels: DataFrame, rules: Rules, dated: list[Column]) -> DataFrame:
    labels = labels.withColumn("label", F.col("label").cast("double"))
    said = said_by(labels)
    return labels.select(
        *dated,
        F.lit(True).alias("is_label"),
        label_fault(rules.label).alias("fault"),
        content(labels, said).alias("content"),
        "instance_id",
        *said,
        F.unix_micros("known_at").alias("moment"),
    )


def _narrow_instances(instances: DataFrame) -> DataFrame:
    return instances.where("instance_id IS NOT NULL").select(
        F.lit(int(Role.INSTANCE)).cast("tinyint").alias(ROLE),
        F.unix_date("event_date").alias(DAY),
        F.lit(False).alias("is_label"),
        "instance_id",
        "event_time",
    )
