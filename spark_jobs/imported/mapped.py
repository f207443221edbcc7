"""A log's rows as forward records: what each column means, and which rows cannot be used."""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from schemas import reasons
from schemas.pipeline import Pipeline
from schemas.rules import rules_of
from schemas.sections.records import CLOSEST, Log
from spark_jobs.candidates.rejects import contradicting, first_fault

# Where an answer may stand, and the type it has there.
_ANSWERS = {
    "prediction": "double",
    "probability": "double",
    "logits": "array<float>",
    "statistics": "array<float>",
}
# What `unfolded` rows have beside the fields; and in place of a fault, of no forward pass.
FAULT, RECORD, LEFT_OUT = "tenforward_fault", "tenforward_record", "left-out"
_TOLD = ("payload_fault", "not_a_number", "no_chance", "unreadable", "misdated")
KEY = ["instance_id", "model_version", "recorded_at"]
# What Spark's cast takes besides, "2026" or "08:00", it takes for other moments than were meant.
_ISO = r"^\s*\d{4}-\d{1,2}-\d{1,2}([T ].*|\s*)$"
_DAY = timedelta(days=1)
_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_YEARS = (-62_135_596_800_000_000, 253_402_300_799_999_999)


def of_dates(rows: DataFrame, source: Log, start: date, end: date) -> DataFrame:
    """The log's rows of the event dates, and those that belong to none or to two: without an event
    time, and with one that the log's own date is far from.

    What the date column says only narrows the reading, by a day more at each end.
    """
    event = moment(rows, source.event_time, source.epoch).cast("date")
    inside, none = event.between(F.lit(start), F.lit(end)), event.isNull()
    if source.date is None:
        return rows.where(inside | none)
    hint = moment(rows, source.date).cast("date")
    here = hint.between(F.lit(start), F.lit(end))
    close = near(rows, source.date, start, end)
    far = F.coalesce(F.abs(F.datediff(event, hint)) > 1, F.lit(False))
    return rows.where((close & inside & ~far) | (none & (here | hint.isNull())) | (here & far))


def near(rows: DataFrame, name: str, start: date, end: date) -> Column:
    """Whether a date column does not say that a row is of other dates, give or take a day."""
    hint = moment(rows, name).cast("date")
    return hint.between(F.lit(start - _DAY), F.lit(end + _DAY)) | hint.isNull()


def mapped(rows: DataFrame, source: Log, day: date) -> DataFrame:
    """The log's rows with the columns of `forward_records`; `probability`, where that came instead
    of a logit; and `record`: each as it came.

    day: stands in for the event date where there is no event time. A number that does not cast is
    null here; `not_a_number` and `no_chance` say so, as `unreadable` does of what else cannot be
    read, and `misdated` of a date that is not that of the event.
    """
    prediction, kind = quoted(source.prediction.column), source.prediction.kind
    answer = prediction.cast("array<float>") if kind == "logits" else prediction.try_cast("double")
    where = {"logits": "logits", "probability": "probability"}.get(kind, "prediction")
    event_time = recorded = moment(rows, source.event_time, source.epoch)
    if source.recorded_at is not None:
        recorded = moment(rows, source.recorded_at, source.epoch)
    version = source.model_version
    sketch = quoted(source.sketch) if source.sketch else F.lit(None)
    chance = F.lit(None) if source.propensity is None else quoted(source.propensity)
    unfolded = FAULT in rows.columns
    keys = [F.coalesce(_text(rows, name), F.lit("")) for name in source.segments]
    nothing = F.lit(None).cast("double")
    return rows.select(
        _text(rows, source.instance_id).alias("instance_id"),
        event_time.alias("event_time"),
        F.coalesce(event_time.cast("date"), F.lit(day)).alias("event_date"),
        (F.lit(version.value) if version.column is None else _text(rows, version.column)).alias(
            "model_version"
        ),
        F.coalesce(recorded, event_time).alias("recorded_at"),
        *(
            (answer if name == where else F.lit(None).cast(type_)).alias(name)
            for name, type_ in _ANSWERS.items()
        ),
        nothing.alias("label"),
        nothing.alias("loss"),
        (F.array(*keys) if keys else F.array().cast("array<string>")).alias("segments"),
        sketch.cast("array<float>").alias("sketch"),
        chance.try_cast("double").alias("propensity"),
        (prediction.isNotNull() & answer.isNull()).alias("not_a_number"),
        (chance.isNotNull() & chance.try_cast("double").isNull()).alias("no_chance"),
        _unreadable(rows, source, recorded).alias("unreadable"),
        _misdated(rows, source, event_time).alias("misdated"),
        (quoted(FAULT) if unfolded else F.lit(None).cast("string")).alias("payload_fault"),
        (quoted(RECORD) if unfolded else as_json("*")).alias("record"),
    )


def moment(rows: DataFrame, name: str, epoch: str | None = None) -> Column:
    """A column as TIMESTAMP; one without a zone is taken as UTC, text only in the form of ISO 8601,
    a number only where `epoch` says what it counts since 1970. Null where it is neither."""
    column, text = quoted(name), _is_text(rows, name)
    if not text and isinstance(rows.schema[name].dataType, T.NumericType):
        return _counted(column, epoch)
    read = column.try_cast("timestamp")
    written = F.when(column.rlike(_ISO), read) if text else read
    return written if epoch is None or not text else F.coalesce(written, _counted(column, epoch))


def _counted(column: Column, epoch: str | None) -> Column:
    """A number of seconds, milli- or microseconds since 1970, within the years 1 to 9999."""
    micros = F.try_multiply(column.try_cast("decimal(38,6)"), F.lit(_MICROS[epoch or "us"]))
    return F.when(micros.between(*_YEARS), F.timestamp_micros(micros.cast("bigint")))


def quoted(name: str) -> Column:
    """The column of that very name, whatever is in it."""
    return F.col(f"`{name}`")


def as_json(*columns: Column | str) -> Column:
    """Columns as an object of JSON that every reader can read."""
    return F.make_valid_utf8(F.to_json(F.struct(*columns)))


def _is_text(rows: DataFrame, name: str) -> bool:
    return isinstance(rows.schema[name].dataType, T.StringType)


def _text(rows: DataFrame, name: str) -> Column:
    """A column as text that every reader can read."""
    text = quoted(name).cast("string")
    return F.make_valid_utf8(text) if _is_text(rows, name) else text


def _unreadable(rows: DataFrame, source: Log, recorded: Column) -> Column:
    names = [source.instance_id, *source.segments]
    names += [source.model_version.column] if source.model_version.column else []
    broken = F.lit(False)
    for name in names:
        if _is_text(rows, name):
            broken |= F.coalesce(~F.is_valid_utf8(quoted(name)), F.lit(False))
    if source.recorded_at is None:
        return broken
    # Beyond the year 9999 a moment is one to Spark alone.
    sound = F.coalesce(F.year(recorded).between(1, 9999), F.lit(False))
    return broken | (quoted(source.recorded_at).isNotNull() & ~sound)


def _misdated(rows: DataFrame, source: Log, event_time: Column) -> Column:
    if source.date is None:
        return F.lit(False)
    days = F.datediff(event_time.cast("date"), moment(rows, source.date).cast("date"))
    return F.coalesce(F.abs(days) > 1, F.lit(False))


def judged(rows: DataFrame, pipeline: Pipeline) -> DataFrame:
    """`mapped` rows with their `fault`; probabilities become logits."""
    unreadable = F.coalesce(
        "payload_fault",
        F.when(F.col("not_a_number"), F.lit(reasons.NOT_FINITE)),
        F.when(F.col("no_chance"), F.lit(reasons.NOT_A_PROPENSITY)),
        F.when(F.col("unreadable"), F.lit(reasons.UNREADABLE)),
        F.when(F.col("misdated"), F.lit(reasons.MISDATED)),
    )
    fault = first_fault(rules_of(pipeline, probabilities=True).record)
    p = F.least(F.greatest("probability", F.lit(CLOSEST)), F.lit(1 - CLOSEST))
    came = F.col("fault").isNull() & F.col("probability").isNotNull()
    logit = F.when(came, F.log(p / (1 - p)))
    rows = rows.withColumns({"fault": F.coalesce(unreadable, fault), "batch_id": F.lit("")})
    rows = rows.withColumn("prediction", F.coalesce("prediction", logit))
    rows = rows.drop(*_TOLD, "probability")
    sound = rows.where("fault IS NULL")
    keys = [F.col(name).alias(f"_{name}") for name in KEY]
    differ = contradicting(sound).select(*keys).distinct().withColumn("_differ", F.lit(True))
    same = [F.col(name) == F.col(f"_{name}") for name in KEY]
    joined = rows.join(F.broadcast(differ), same, "left").drop(*(f"_{name}" for name in KEY))
    contradicts = F.when(F.col("_differ"), F.lit(reasons.DUPLICATE_DIFFERS))
    return joined.withColumn("fault", F.coalesce("fault", contradicts)).drop("_differ")
