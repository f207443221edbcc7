"""Values as a server has them, lists or arrays of any library, as columns of a declared type.

Nothing is guessed: a number where text is declared would have another code than the same number as
text, so it is refused.
"""

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.columns import TYPES, ColumnType
from schemas.errors import DataQualityError

_PANDAS_NULLS = ("NAType", "NaTType")


def typed_column(name: str, values: Any, kind: ColumnType) -> pa.Array:
    """n values of feature `name` as an Arrow column of its declared type; null where None or NaN.

    values: a list, a NumPy or Arrow array, a tensor, a pandas series. Raises DataQualityError for
    a value of another type, and for what is no column.
    """
    target = TYPES[kind].arrow
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array) and values.type == target:
        return values
    known = [_typed(name, one, kind) for one in _listed(name, values)]
    try:
        return pa.array(known, target)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise DataQualityError(
            f"features.{name}: {error}. Remedy: send values of its type, {kind}."
        ) from error


def _listed(name: str, values: Any) -> Iterable[Any]:
    for method in ("tolist", "to_pylist"):
        if hasattr(values, method):
            values = getattr(values, method)()
    if not isinstance(values, list | tuple):
        raise DataQualityError(
            f"features.{name}: {type(values).__name__} is no column. Remedy: send a list, one value"
            " an instance."
        )
    return values


def _is_null(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in _PANDAS_NULLS


def _typed(name: str, value: Any, kind: ColumnType) -> Any:
    """One value as Arrow takes it for the type; None for null."""
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        return None if _is_null(plain) else READ[kind](plain)
    except (TypeError, ValueError, OverflowError) as error:
        told = repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:40]}..."
        raise DataQualityError(
            f"features.{name} = {told}: not of its type, {kind}. Remedy: send a value of the type"
            " that the pipeline file declares for its column, or null."
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)


def _whole(value: Any) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return int(value)
    raise TypeError


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    try:
        return float(value)
    except OverflowError:  # a whole number beyond any float
        return math.inf if value > 0 else -math.inf


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _moment(value: Any) -> datetime:
    """A moment, or its text in the form of ISO 8601; without a zone it is UTC."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise TypeError
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _numbers(value: Any) -> list[float | None]:
    """A tensor's numbers in a row, whatever its own shape."""
    found = value.ravel() if hasattr(value, "ravel") else value
    found = found.tolist() if hasattr(found, "tolist") else found
    if not isinstance(found, list | tuple):
        raise TypeError
    flat: list[float | None] = []
    for one in found:
        flat += _numbers(one) if isinstance(one, list | tuple) else [_number_or_none(one)]
    return flat


def _number_or_none(value: Any) -> float | None:
    return None if _is_null(value) else _number(value)


# How a value of each type that a feature may be read from is taken.
READ: dict[ColumnType, Callable[[Any], Any]] = {
    "string": _text,
    "bool": _flag,
    "int32": _whole,
    "int64": _whole,
    "float32": _number,
    "float64": _number,
    "timestamp": _moment,
    "floats": _numbers,
}
