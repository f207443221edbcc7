"""Frames of the journal (`recording.frame`) as rows: one Arrow table of a whole file."""

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from inference.recording.frame import FORMAT, HEAD
from inference.recording.given import NO_TIME
from inference.recording.usable import ROW
from schemas.errors import DataQualityError
from schemas.shared_columns import MAX_LOGITS
from schemas.statistics import WIDTH, statistics

_decode = json.JSONDecoder().raw_decode


def rows_in(payloads: Iterable[bytes], pipeline: str | None = None) -> pa.Table:
    """The rows of many frames, with the columns of `inference.recording.usable.ROW`.

    pipeline: the one whose frames they must be, if any. Raises DataQualityError for a frame of
    another format or another pipeline.
    """
    frames = [_Frame(payload) for payload in payloads]
    for frame in frames:
        owner = frame.header.get("pipeline", pipeline)  # earlier releases named none
        if pipeline is not None and owner != pipeline:
            raise DataQualityError(
                f"are rows of pipeline {owner!r}, not {pipeline!r}. Remedy: take them to a journal"
                f" of {owner}."
            )
    counts = [frame.n for frame in frames]
    owner = np.repeat(np.arange(len(frames)), counts)

    def each(name: str) -> Any:
        """The frames' own values, one a row."""
        return pa.array([frame.header[name] for frame in frames]).take(pa.array(owner))

    kinds = np.array([frame.header["kind"] for frame in frames], dtype=object)[owner]
    scalars = _joined(frames, "prediction", "<f8")
    probable = kinds == "probability"
    columns = {
        "instance_id": pa.array(
            list(chain.from_iterable(frame.header["ids"] for frame in frames)), pa.string()
        ),
        "event_time": _times(_joined(frames, "times", "<i8")),
        "model_version": each("model"),
        "recorded_at": _times(np.asarray(each("at"))),
        "prediction": pa.array(scalars, mask=probable | (kinds == "logits")),
        "logits": _lists(frames, "logits"),
        "statistics": _lists(frames, "statistics"),
        "label": pa.array(_joined(frames, "labels", "<f8"), mask=_without(frames, "unlabelled")),
        "propensity": pa.array(
            _joined(frames, "propensity", "<f8"), mask=_without(frames, "kept_for_sure")
        ),
        "loss": pa.nulls(len(owner), pa.float64()),
        "segments": _segments(frames),
        "sketch": _lists(frames, "sketch"),
        "probability": pa.array(scalars, mask=~probable),
    }
    return pa.table([columns[name] for name in ROW.names], schema=ROW)


class _Frame:
    """A frame taken apart: its header, and the bytes of each array."""

    def __init__(self, payload: bytes) -> None:
        written, length = HEAD.unpack_from(payload)
        if written != FORMAT:
            raise DataQualityError(
                f"are frames of format {written}, this release reads {FORMAT}. Remedy: take the"
                " release of tenforward that wrote them."
            )
        at = HEAD.size + length
        self.header = header = _decode(payload[HEAD.size : at].decode())[0]
        self.n = n = len(header["ids"])
        many = header["kind"] == "logits"
        sizes = {
            "times": 8 * n,
            "logits": 4 * n * header["classes"] if many else 0,
            "prediction": 0 if many else 8 * n,
            "labels": 8 * n if "unlabelled" in header else 0,
            "sketch": 4 * n * header.get("width", 0),
            "propensity": 8 * n if "kept_for_sure" in header else 0,
        }
        self.arrays: dict[str, bytes] = {}
        for name, size in sizes.items():
            self.arrays[name] = payload[at : at + size]
            at += size
        self.widths = {"logits": header.get("classes"), "sketch": header.get("width")}
        if many and header["classes"] > MAX_LOGITS:
            self._summarise()

    def _summarise(self) -> None:
        """Statistics in place of more logits than a record holds."""
        logits = np.frombuffer(self.arrays["logits"], "<f4").reshape(self.n, -1)
        self.arrays |= {"logits": b"", "statistics": statistics(logits).astype("<f4").tobytes()}
        self.widths |= {"logits": None, "statistics": WIDTH}


def _joined(frames: Sequence[_Frame], name: str, kind: str) -> NDArray[Any]:
    """An array of all the frames, one number a row; 0 where a frame has none."""
    empty = np.dtype(kind).itemsize
    return np.frombuffer(b"".join(f.arrays[name] or bytes(empty * f.n) for f in frames), kind)


def _without(frames: Sequence[_Frame], places: str) -> NDArray[np.bool_]:
    """Mask of the rows that have none of an array: all of a frame without it, else its `places`."""
    counts = [frame.n for frame in frames]
    mask = np.repeat([places not in frame.header for frame in frames], counts)
    for start, frame in zip(np.cumsum([0, *counts]), frames, strict=False):
        if absent := frame.header.get(places):
            mask[start + np.array(absent)] = True
    return mask


def _times(micros: NDArray[np.int64]) -> pa.Array:
    moments = pa.array(micros, pa.int64(), mask=micros == NO_TIME)
    return moments.cast(pa.timestamp("us", tz="UTC"))


def _lists(frames: Sequence[_Frame], name: str) -> pa.Array:
    """Matrices of the frames as lists of float32, null where a frame has none."""
    widths = [frame.widths.get(name) for frame in frames]
    counts = [frame.n for frame in frames]
    lengths = np.repeat([one or 0 for one in widths], counts)
    absent = np.repeat([one is None for one in widths], counts)
    flat = np.frombuffer(b"".join(frame.arrays.get(name, b"") for frame in frames), "<f4")
    return _in_lists(pa.array(flat), lengths, absent)


def _segments(frames: Sequence[_Frame]) -> pa.Array:
    """The keys of each row, column by column, as one list a row."""
    rows = (zip(*frame.header["keys"], strict=True) for frame in frames)
    flat = list(chain.from_iterable(chain.from_iterable(rows)))
    lengths = np.repeat([len(f.header["keys"]) for f in frames], [f.n for f in frames])
    return _in_lists(pa.array(flat, pa.string()), lengths, np.zeros(len(lengths), np.bool_))


def _in_lists(flat: pa.Array, lengths: NDArray[Any], absent: NDArray[np.bool_]) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets, mask=np.append(absent, False)),
        flat,  # a null offset is a null list
    )
