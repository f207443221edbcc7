"""What a request may give: each argument as the list or the array that a frame holds, or refused.

A whole request is looked at before a byte of it is written. What only one row is wrong in (NaN, no
id, a time in the future) passes, and becomes a reject of that row later.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigurationError

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
# Tables and Python's dates know the years 1 to 9999.
_FIRST, _LAST = (
    (moment - _EPOCH) // _MICROSECOND
    for moment in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
)
_1970 = np.datetime64(0, "s")
NO_TIME = int(np.iinfo(np.int64).min)  # NumPy's NaT
_NO_SEQUENCE = (str, bytes, bytearray, Mapping, set, frozenset)


def names(ids: Any) -> list[str | None]:
    """Ids as text, of text, whole numbers and UUIDs; None stays, to be rejected by name."""
    listed = _listed("ids", ids)
    if {*map(type, listed)} == {str}:
        return listed
    for one in listed:
        # 1e15 and 1000000000000000 would be two instances; True and b"a" would be text of Python's.
        if one is not None and (type(one) is bool or not isinstance(one, (str, int, UUID))):
            raise ConfigurationError(
                f"ids: {one!r} is a {type(one).__name__}. Remedy: give text or whole numbers, and"
                " None where there is no id."
            )
    return [one if one is None else str(one) for one in listed]


def version(model_version: Any) -> str:
    """The version of the model that answered, as text."""
    if type(model_version) is bool or not isinstance(model_version, (str, int)):
        raise ConfigurationError(
            f"model_version = {model_version!r}. Remedy: give text or a whole number."
        )
    return str(model_version)


def keys(
    declared: Sequence[str], segments: Mapping[str, Sequence[str | None]] | None
) -> list[list[str]]:
    """Segment keys in the declared order, empty where None, as the scoring job writes them."""
    found: Any = {} if segments is None else segments
    if not isinstance(found, Mapping) or {*found} != {*declared}:
        told = sorted(map(str, found)) if isinstance(found, Mapping) else repr(found)
        raise ConfigurationError(
            f"segments: {told} given, the pipeline declares {sorted(declared)}."
            " Remedy: give one sequence of keys for each."
        )
    columns = []
    for name in declared:
        column = _listed(f"segments.{name}", found[name])
        for one in column:
            if one is not None and type(one) is not str:
                raise ConfigurationError(
                    f"segments.{name}: a key is not text: {one!r} is a {type(one).__name__}."
                    " Remedy: give text, or None."
                )
        columns.append([key or "" for key in column])
    return columns


def moments(event_times: Any) -> NDArray[np.int64]:
    """Event times as UTC microseconds; datetime64 counts as UTC, a naive datetime is refused."""
    values = event_times
    if not (isinstance(values, np.ndarray) and values.dtype.kind == "M"):
        values = _listed("event_times", values)
        if values and all(isinstance(one, np.datetime64) for one in values):
            values = np.array(values)
    if isinstance(values, np.ndarray):
        found = _microseconds(values)
    else:
        found = np.array([_micros(one) for one in values], "<i8")
    for beyond in found[((found < _FIRST) & (found != NO_TIME)) | (found > _LAST)][:1]:
        raise ConfigurationError(
            f"event_times: {beyond} microseconds since 1970 is not in the years 1 to 9999. Remedy:"
            " give datetimes, or NumPy's datetime64, in the right unit."
        )
    return found


def _microseconds(values: NDArray[np.datetime64]) -> NDArray[np.int64]:
    _require_dimensions("event_times", values, 1)
    found = values.astype("<M8[us]", copy=False)
    if found is values:
        return found.view("<i8")
    # A coarse unit reaches further than microseconds do: NumPy wraps round without a word.
    wrapped = (found.astype(values.dtype) > values) | ((found < _1970) != (values < _1970))
    if wrapped.any():
        raise ConfigurationError(
            f"event_times: {values[wrapped][0]!r} is not in the years 1 to 9999. Remedy: give"
            " datetimes, or NumPy's datetime64, in the right unit."
        )
    return found.view("<i8")


def _micros(moment: Any) -> int:
    if moment is None or moment != moment:  # pandas' NaT
        return NO_TIME
    if not isinstance(moment, datetime):
        raise ConfigurationError(
            f"event_times: {moment!r} is a {type(moment).__name__}. Remedy: give aware datetimes,"
            " or NumPy's datetime64 in UTC."
        )
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"event_times: {moment} has no time zone. Remedy: give aware datetimes, or NumPy's"
            " datetime64 in UTC."
        )
    return (moment - _EPOCH) // _MICROSECOND


def predictions(values: Any, kind: str) -> NDArray[Any]:
    """(n,) float64, or (n, classes) float32 logits."""
    many = kind == "logits"
    found = _numbers("predictions", values, "iuf")
    if found.ndim != 1 + many:
        raise ConfigurationError(
            f"predictions: {found.ndim} dimensions. Remedy: give"
            f" {'(n, classes)' if many else '(n,)'} {kind} values for n ids."
        )
    return found.astype("<f4" if many else "<f8", copy=False)


def column(name: str, values: Any) -> tuple[NDArray[np.float64], list[int]]:
    """Labels or propensities (n,), and the places of those that are None: NaN is not the same, and
    refused later."""
    found = _numbers(name, values, "biuf" if name == "labels" else "iuf")
    _require_dimensions(name, found, 1)
    if found.dtype.kind == "O":
        absent = [place for place, one in enumerate(found) if one is None]
    else:
        absent = []
    return found.astype("<f8", copy=False), absent


def sketch(values: Any) -> NDArray[np.float32]:
    """(n, width) float32."""
    found = _numbers("sketch", values, "iuf")
    if found.ndim != 2:
        raise ConfigurationError(
            f"sketch: {found.ndim} dimensions. Remedy: give (n, width) numbers for n ids."
        )
    return found.astype("<f4", copy=False)


def _numbers(name: str, values: Any, kinds: str) -> NDArray[Any]:
    """NumPy's view of numbers: an array, a torch tensor (detached, on the host) or a sequence.

    kinds: of NumPy's dtypes, those that are meant; objects must be numbers or None each.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # NumPy has no such numbers
            values = values.float()
        values = values.numpy()
    elif not hasattr(values, "dtype"):
        values = _listed(name, values)
    try:
        found = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ConfigurationError(f"{name}: {error}. Remedy: give rows of one length.") from error
    if found.dtype.kind == "O":
        odd = next((one for one in found.flat if not _is_number(one, kinds)), None)
        told = "" if odd is None else f"{odd!r} is a {type(odd).__name__}"
    else:
        told = "" if found.dtype.kind in kinds or not found.size else str(found.dtype)
    if told:
        raise ConfigurationError(f"{name}: {told}. Remedy: give numbers.")
    return found


def _is_number(one: Any, kinds: str) -> bool:
    return one is None or isinstance(one, Decimal) or np.asarray(one).dtype.kind in kinds


def _listed(name: str, values: Any) -> list[Any]:
    """A sequence, an array of one dimension, a tensor or an iterator as a list of its values."""
    if type(values) is list:
        return values
    if isinstance(values, _NO_SEQUENCE):
        raise ConfigurationError(
            f"{name}: a {type(values).__name__}. Remedy: give a sequence with one entry a row."
        )
    if hasattr(values, "tolist"):
        _require_dimensions(name, values, 1)
        return list(values.tolist())
    try:
        return list(values)
    except TypeError as error:
        raise ConfigurationError(
            f"{name}: {error}. Remedy: give a sequence with one entry a row."
        ) from error


def _require_dimensions(name: str, values: Any, wanted: int) -> None:
    if values.ndim != wanted:
        raise ConfigurationError(
            f"{name}: {values.ndim} dimensions. Remedy: give (n,) values for n ids."
        )
