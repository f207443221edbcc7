"""A request as one frame of the journal: cheap to make while the request waits, Arrow only later.

A frame is a format number (uint8), the length of its header (uint32), the header (JSON: pipeline,
ids, keys, model version, moment), and the numbers as they lie in memory, little-endian: event times
int64 (n), predictions float64 (n) or logits float32 (n, classes), labels float64 (n), sketch
float32 (n, width), propensities float64 (n); the last three only where they were given.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from inference.recording import given
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from schemas.sections.records import KINDS

FORMAT = 1
HEAD = struct.Struct("<BI")
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


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
    propensity: Any = None,
) -> bytes:
    """One request, its values not yet looked at.

    recorded_at: microseconds since 1970, UTC. Raises ConfigurationError where the arrays do not
    belong together, or hold what no row can: another length, a segment that the pipeline does not
    declare, a prediction of another kind than the task has, text where numbers are meant.
    """
    kind = _kind(pipeline, kind)
    names = given.names(ids)
    keys = given.keys(pipeline.instances.segments, segments)
    header: dict[str, Any] = {
        "pipeline": pipeline.name,
        "ids": names,
        "keys": keys,
        "model": given.version(model_version),
        "at": recorded_at,
        "kind": kind,
    }
    prediction = given.predictions(predictions, kind)
    if kind == "logits":
        header["classes"] = prediction.shape[1]
    times = given.moments(event_times)
    lengths = {"event_time": len(times), "prediction": len(prediction)}
    for name, column in zip(pipeline.instances.segments, keys, strict=True):
        lengths[f"segments.{name}"] = len(column)
    parts = [times.tobytes(), prediction.tobytes()]
    if labels is not None:
        values, header["unlabelled"] = given.column("labels", labels)
        lengths["label"] = len(values)
        parts.append(values.tobytes())
    if sketch is not None:
        projection = given.sketch(sketch)
        lengths["sketch"], header["width"] = projection.shape
        parts.append(projection.tobytes())
    if propensity is not None:
        chances, header["kept_for_sure"] = given.column("propensity", propensity)
        lengths["propensity"] = len(chances)
        parts.append(chances.tobytes())
    _require_length(len(names), lengths)
    head = _text(header)
    return b"".join([HEAD.pack(FORMAT, len(head)), head, *parts])


def pipeline_of(frame: bytes) -> str | None:
    """The pipeline that recorded a frame; None where an earlier release did, which did not say."""
    header = json.loads(frame[HEAD.size : HEAD.size + HEAD.unpack_from(frame)[1]])
    name: str | None = header.get("pipeline")
    return name


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
