"""Which records and labels cannot be used, and what becomes of them: kept, with the reason."""

from dataclasses import dataclass
from typing import Literal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas import reasons
from schemas.pipeline import Pipeline
from schemas.statistics import CLASSES, WIDTH
from schemas.tables import MAX_LOGITS, SKETCH_WIDTH
from spark_jobs.storage.warehouse import Warehouse

LARGEST = 1e30


@dataclass(frozen=True)
class Rules:
    """What a usable record must fit beyond being finite; None leaves a rule out."""

    task: Literal["binary", "multiclass", "regression"] | None = None
    segments: int | None = None
    versions: frozenset[str] | None = None  # that the registry has
    classes: int | None = None  # that the pipeline file declares


def rules_of(pipeline: Pipeline, versions: frozenset[str] | None = None) -> Rules:
    """The rules of a pipeline's records."""
    segments = len(pipeline.instances.segments)
    return Rules(pipeline.task, segments, versions, pipeline.labels.classes)


def record_fault(rules: Rules) -> Column:
    """The first reason why a row of `forward_records` cannot be used; null where it can."""
    latest = F.col("recorded_at") + F.lit(reasons.CLOCK_SKEW)
    wrong = {
        reasons.MISSING: _absent("instance_id", "event_time", "model_version"),
        reasons.NOT_FINITE: ~(
            _finite("prediction") & _finite("label") & _all_finite("logits", "statistics", "sketch")
        ),
        reasons.NO_PREDICTION: _no_prediction(rules.task),
        reasons.WRONG_ARITY: _wrong_arity(rules),
        reasons.FUTURE_EVENT: F.col("event_time") > latest,
    }
    if rules.versions is not None:
        known = F.col("model_version").isin(sorted(rules.versions))
        wrong[reasons.UNKNOWN_MODEL] = ~known
    return F.coalesce(*(F.when(condition, F.lit(name)) for name, condition in wrong.items()))


def label_fault(rules: Rules) -> Column:
    """The reason why the column `label` cannot be used; null where it can, or is null itself."""
    label = F.col("label")
    good = label.between(-LARGEST, LARGEST)
    if rules.task == "binary":
        good &= label.isin(0.0, 1.0)
    elif rules.task == "multiclass":
        good &= (label >= 0) & (label < (rules.classes or MAX_LOGITS)) & (F.floor(label) == label)
    return F.when(~good, F.lit(reasons.BAD_LABEL))


def _absent(*names: str) -> Column:
    missing = F.lit(False)
    for name in names:
        missing |= F.col(name).isNull() | (F.col(name).cast("string") == "")
    return missing


def _finite(name: str) -> Column:
    return F.coalesce(F.col(name).between(-LARGEST, LARGEST), F.lit(True))


def _all_finite(*names: str) -> Column:
    """No list holds NaN, which Spark orders last, or an infinity."""
    whole = F.lit(True)
    for name in names:
        inside = (F.array_min(name) >= -LARGEST) & (F.array_max(name) <= LARGEST)
        whole &= F.coalesce(inside, F.lit(True))  # null where there is no list
    return whole


def _no_prediction(task: str | None) -> Column:
    match task:
        case None:
            return F.col("prediction").isNull() & _no_outputs()
        case "multiclass":
            return _no_outputs()
        case _:
            return F.col("prediction").isNull()


def _no_outputs() -> Column:
    return F.col("logits").isNull() & F.col("statistics").isNull()


def _wrong_arity(rules: Rules) -> Column:
    wrong = F.coalesce(F.size("logits") > MAX_LOGITS, F.lit(False))
    wrong |= F.coalesce(F.size("sketch") > SKETCH_WIDTH, F.lit(False))
    wrong |= F.coalesce(F.size("statistics") != WIDTH, F.lit(False))
    if rules.task == "multiclass":
        wrong |= F.coalesce(F.size("logits").between(0, 1), F.lit(False))
    if rules.classes is not None:
        answered = F.coalesce(F.col("statistics")[CLASSES].cast("int"), F.size("logits"))
        wrong |= F.coalesce(answered != rules.classes, F.lit(False))
    if rules.segments is not None:
        wrong |= F.coalesce(F.size("segments") != rules.segments, F.lit(True))
    return wrong


def contradicting(records: DataFrame) -> DataFrame:
    """Records of one instance, model, batch and moment whose predictions differ: all of them."""
    same = Window.partitionBy("instance_id", "model_version", "batch_id", "recorded_at")
    values = F.xxhash64("prediction", "logits", "statistics", "event_time")
    differ = F.min(values).over(same) != F.max(values).over(same)
    return records.withColumn("_differ", differ).where("_differ").drop("_differ")


def rejects_of(records: DataFrame, batch: str, record: Column | None = None) -> DataFrame:
    """`records` in the form of `forward_rejects`.

    records: instance_id, event_date, the reason as `fault`, and any others. record: the record as
    it came, where the columns are not that.
    """
    columns = (F.col(name) for name in records.columns if name != "fault")
    as_it_came = F.to_json(F.struct(*columns)) if record is None else record
    return records.select(
        "instance_id",
        "event_date",
        F.lit(batch).alias("batch_id"),
        F.col("fault").alias("reason"),
        as_it_came.alias("record"),
        F.current_timestamp().alias("rejected_at"),
    )


def reject(warehouse: Warehouse, records: DataFrame, batch: str) -> int:
    """Append `records` to `forward_rejects`, once a batch; the version that holds them."""
    return warehouse.append_once(rejects_of(records, batch), "forward_rejects", batch)
