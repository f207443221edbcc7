"""The types that a log's columns may have, by what they mean: another is refused, not cast.

A cast would make another thing of it without a word: an id read as a double "1.0E15", a date
written as a number the year 20130201, a flag the probability 1.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pyspark.sql import types as T

from schemas.sections.records import Log

WHOLE = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
NUMBERS = (*WHOLE, T.FloatType, T.DoubleType, T.DecimalType)
TIMES = (T.TimestampType, T.TimestampNTZType, T.DateType)


def _key(kind: T.DataType) -> bool:
    whole_decimal = isinstance(kind, T.DecimalType) and kind.scale == 0
    return isinstance(kind, (T.StringType, *WHOLE)) or whole_decimal


def _named(kind: T.DataType) -> bool:
    return _key(kind) or isinstance(kind, T.DateType | T.BooleanType)


def _moment(kind: T.DataType) -> bool:
    return isinstance(kind, (T.StringType, *TIMES))


def _number(kind: T.DataType) -> bool:
    return isinstance(kind, (T.StringType, *NUMBERS))


def _numbers(kind: T.DataType) -> bool:
    return isinstance(kind, T.ArrayType) and isinstance(kind.elementType, (*NUMBERS, T.NullType))


class ColumnKind(NamedTuple):
    """What a column may be, in words too, and what the same is called of a value of a payload."""

    fits: Callable[[T.DataType], bool]
    wanted: str
    remedy: str
    value: str


KEY = ColumnKind(
    _key,
    "STRING or a whole number",
    "write it as STRING or BIGINT, from the value that the server had: a double or bytes have lost"
    " how the id was written",
    "key",
)
NAMED = ColumnKind(
    _named, "STRING, a whole number, a DATE or a BOOLEAN", "write it as STRING", "named"
)
MOMENT = ColumnKind(
    _moment,
    "TIMESTAMP, or STRING such as 2026-02-01T08:00:00Z",
    "write it as TIMESTAMP, of a number by timestamp_seconds, timestamp_millis or"
    " timestamp_micros; or say what it counts, by records.epoch",
    "moment",
)
COUNTED = MOMENT._replace(
    fits=lambda kind: _moment(kind) or _number(kind), wanted="a number, TIMESTAMP or STRING"
)
DAY = ColumnKind(
    _moment,
    "DATE, or STRING such as 2026-02-01",
    "write it as DATE, or leave records.date",
    "moment",
)
NUMBER = ColumnKind(
    _number, "DOUBLE, another number or STRING", "write the number as DOUBLE", "number"
)
NUMBERS_OF_A_ROW = ColumnKind(_numbers, "ARRAY of numbers", "write it as ARRAY<FLOAT>", "numbers")


def columns_of(source: Log) -> Mapping[str, tuple[str, ColumnKind]]:
    """The log's column and its kind for each field of `[records]` that names one."""
    moment = MOMENT if source.epoch is None else COUNTED
    answer = NUMBERS_OF_A_ROW if source.prediction.kind == "logits" else NUMBER
    named: dict[str, tuple[str | None, ColumnKind]] = {
        "instance_id": (source.instance_id, KEY),
        "event_time": (source.event_time, moment),
        "recorded_at": (source.recorded_at, moment),
        "model_version": (source.model_version.column, NAMED),
        "prediction": (source.prediction.column, answer),
        "sketch": (source.sketch, NUMBERS_OF_A_ROW),
        "propensity": (source.propensity, NUMBER),
        "date": (source.date, DAY),
    }
    named |= {f"segments[{place}]": (name, NAMED) for place, name in enumerate(source.segments)}
    return {field: (name, kind) for field, (name, kind) in named.items() if name is not None}
