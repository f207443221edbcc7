"""The types that a log's columns may have, by what they mean: another is refused, not cast.

A cast would make another thing of it without a word: an id read as a double "1.0E15", a date
written as a number the year 20130201, a flag the probability 1.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pyspark.sql import types as T

from schemas.errors import ConfigurationError
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
    """What a column may be, in words too."""

    fits: Callable[[T.DataType], bool]
    wanted: str
    remedy: str


KEY = ColumnKind(
    _key,
    "STRING or a whole number",
    "write it as STRING or BIGINT, from the value that the server had: a double or bytes have lost"
    " how the id was written",
)
NAMED = ColumnKind(_named, "STRING, a whole number, a DATE or a BOOLEAN", "write it as STRING")
MOMENT = ColumnKind(
    _moment,
    "TIMESTAMP, or STRING such as 2026-02-01T08:00:00Z",
    "write it as TIMESTAMP, of a number by timestamp_seconds, timestamp_millis or timestamp_micros",
)
DAY = ColumnKind(
    _moment, "DATE, or STRING such as 2026-02-01", "write it as DATE, or leave records.date"
)
NUMBER = ColumnKind(_number, "DOUBLE, another number or STRING", "write the number as DOUBLE")
NUMBERS_OF_A_ROW = ColumnKind(_numbers, "ARRAY of numbers", "write it as ARRAY<FLOAT>")


def require_kinds(schema: T.StructType, source: Log) -> None:
    """Refuse a log that lacks a column, or that has one of another type.

    Raises ConfigurationError, which names the column, the type found and the type wanted.
    """
    for field, (name, kind) in columns_of(source).items():
        if name not in schema.names:
            raise ConfigurationError(
                f"records.{field} = {name!r}: the log has no such column; it has"
                f" {', '.join(schema.names)}. Remedy: correct the name."
            )
        found = schema[name].dataType
        if not kind.fits(found) and not isinstance(found, T.NullType):
            raise ConfigurationError(
                f"records.{field} = {name!r}: the log has {found.simpleString().upper()}, wanted is"
                f" {kind.wanted}. Remedy: {kind.remedy}."
            )


def columns_of(source: Log) -> Mapping[str, tuple[str, ColumnKind]]:
    """The log's column and its kind for each field of `[records]` that names one."""
    answer = NUMBERS_OF_A_ROW if source.prediction.kind == "logits" else NUMBER
    named: dict[str, tuple[str | None, ColumnKind]] = {
        "instance_id": (source.instance_id, KEY),
        "event_time": (source.event_time, MOMENT),
        "recorded_at": (source.recorded_at, MOMENT),
        "model_version": (source.model_version.column, NAMED),
        "prediction": (source.prediction.column, answer),
        "sketch": (source.sketch, NUMBERS_OF_A_ROW),
        "propensity": (source.propensity, NUMBER),
        "date": (source.date, DAY),
    }
    named |= {f"segments[{place}]": (name, NAMED) for place, name in enumerate(source.segments)}
    return {field: (name, kind) for field, (name, kind) in named.items() if name is not None}
