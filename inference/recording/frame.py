"""A request as one frame of the journal: cheap to make while the request waits, Arrow only later.

A frame is a format number (uint8), the length of its header (uint32), the header (JSON: ids, keys,
model version, moment), and the numbers as they lie in memory, little-endian: event times int64 (n),
predictions float64 (n) or logits float32 (n, classes), labels float64 (n), sketch float32
(n, width); the last two only where they were given.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from schemas.sections.records import KINDS

FORMAT = 1
HEAD = struct.Struct("<BI")
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
# Tables and Python's dates know the years 1 to 9999.
_FIRST, _LAST = (
    (moment - _EPOCH) // _MICROSECOND
    for moment in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
)
NO_TIME = int(np.iinfo(np.int64).min)  # NumPy's NaT


def frame_of(
    pipeline: Pipeline,
    ids: Any,
    event_times: Any,
    predictions: Any,
    *,
    model_version: str,
    recorded_at: int,
    kind: str | None = None,
    labels: Any = None,
    segments: Mapping[str, Sequence[str | None]] | None = None,
    sketch: Any = None,
) -> bytes:
    """One request of n rows, its values not yet looked at.

    recorded_at: microseconds since 1970, UTC. Raises ConfigurationError where the arrays do not
    belong together: another length, a segment that the pipeline does not declare, a prediction of
    another kind than the task has.
    """
    kind = _kind(pipeline, kind)
    names = _names(ids)
    keys = _keys(pipeline, segments)
    header: dict[str, Any] = {
        "ids": names, "keys": keys, "model": str(model_version), "at": recorded_at, "kind": kind
    }  # fmt: skip
    prediction = _predictions(predictions, kind)
    if kind == "logits":
        header["classes"] = prediction.shape[1]
    times = _moments(event_times)
    lengths = {"event_time": len(times), "prediction": len(prediction)}
    for name, column in zip(pipeline.instances.segments, keys, strict=True):
        lengths[f"segments.{name}"] = len(column)
    parts = [times.tobytes(), prediction.tobytes()]
    if labels is not None:
        values, header["unlabelled"] = _labels(labels)
        lengths["label"] = len(values)
        parts.append(values.tobytes())
    if sketch is not None:
        projection = _matrix(sketch)
        lengths["sketch"], header["width"] = projection.shape
        parts.append(projection.tobytes())
    _require_length(len(names), lengths)
    head = _text(header)
    return b"".join([HEAD.pack(FORMAT, len(head)), head, *parts])


def _kind(pipeline: Pipeline, kind: str | None) -> str:
    known = KINDS[pipeline.task]
    if kind is None:
        return known[-1]
    if kind not in known:
        raise ConfigurationError(
            f"kind = {kind!r}: a {pipeline.task} pipeline records {' or '.join(known)}. Remedy:"
            " say which."
        )
    return kind


def _require_length(n: int, lengths: Mapping[str, int]) -> None:
    wrong = {name: length for name, length in lengths.items() if length != n}
    if wrong:
        raise ConfigurationError(
            f"{wrong} rows for {n} ids. Remedy: give every array one entry an id, in one order."
        )


def _text(header: dict[str, Any]) -> bytes:
    try:
        return _encode(header).encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"ids or segments: {error.object[error.start : error.end]!r} is not text ({error})."
            " Remedy: give strings that UTF-8 can write."
        ) from error


def _array(values: Any) -> NDArray[Any]:
    """NumPy's view of an array, a torch tensor (detached, on the host) or a sequence."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # NumPy has no such numbers
            values = values.float()
        values = values.numpy()
    return np.asarray(values)


def _listed(values: Any) -> list[Any]:
    """A sequence, an array or a tensor as a list of Python's own values."""
    if isinstance(values, list):
        return values
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _names(ids: Any) -> list[str | None]:
    """Ids as text; None stays, to be rejected by name."""
    listed = _listed(ids)
    return [one if one is None or type(one) is str else str(one) for one in listed]


def _keys(pipeline: Pipeline, given: Mapping[str, Sequence[str | None]] | None) -> list[list[str]]:
    """Segment keys in the pipeline's order, empty where None, as the scoring job writes them."""
    declared = pipeline.instances.segments
    if len(given or ()) != len(declared) or any(name not in (given or ()) for name in declared):
        raise ConfigurationError(
            f"segments: {sorted(given or {})} given, the pipeline declares {sorted(declared)}."
            " Remedy: give one sequence of keys for each."
        )
    columns = []
    for name in declared:
        column = [key or "" for key in _listed(given[name])]  # type: ignore[index]
        try:
            "".join(column)
        except TypeError as error:
            raise ConfigurationError(
                f"segments.{name}: a key is not a string ({error}). Remedy: give strings, or None."
            ) from error
        columns.append(column)
    return columns


def _moments(values: Any) -> NDArray[np.int64]:
    """Event times as UTC microseconds; datetime64 counts as UTC, a naive datetime is refused."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        moments = values.astype("<M8[us]", copy=False).view("<i8")
    else:
        moments = np.array([_micros(one) for one in values], "<i8")
    for beyond in moments[((moments < _FIRST) & (moments != NO_TIME)) | (moments > _LAST)][:1]:
        raise ConfigurationError(
            f"event_times: {beyond} microseconds since 1970 is not in the years 1 to 9999. Remedy:"
            " give datetimes, or NumPy's datetime64, in the right unit."
        )
    return moments


def _micros(moment: datetime | None) -> int:
    if moment is None:
        return NO_TIME
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"event_times: {moment} has no time zone. Remedy: give aware datetimes, or NumPy's"
            " datetime64 in UTC."
        )
    return (moment - _EPOCH) // _MICROSECOND


def _predictions(values: Any, kind: str) -> NDArray[Any]:
    many = kind == "logits"
    prediction = _array(values).astype("<f4" if many else "<f8", copy=False)
    if prediction.ndim != 1 + many:
        raise ConfigurationError(
            f"predictions: {prediction.ndim} dimensions. Remedy: give"
            f" {'(n, classes)' if many else '(n,)'} {kind} values for n ids."
        )
    return prediction


def _labels(values: Any) -> tuple[NDArray[np.float64], list[int]]:
    """Labels, and the places of those that are None: NaN is not the same, and refused later."""
    listed = values if isinstance(values, (list, tuple)) else ()
    absent = [place for place, one in enumerate(listed) if one is None]
    return _array(values).astype("<f8", copy=False), absent


def _matrix(values: Any) -> NDArray[np.float32]:
    matrix = _array(values).astype("<f4", copy=False)
    if matrix.ndim != 2:
        raise ConfigurationError(
            f"sketch: {matrix.ndim} dimensions. Remedy: give (n, width) numbers for n ids."
        )
    return matrix
