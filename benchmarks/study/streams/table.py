"""The table of a stream, from NumPy columns."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FIRST_DAY = date(2020, 1, 1)  # of the streams whose days are invented
_NOON = np.timedelta64(12, "h")
_MOMENT = pa.timestamp("us", tz="UTC")


def table(
    ids: Sequence[str],
    event_date: NDArray[np.datetime64],
    known_at: NDArray[np.datetime64],
    features: Mapping[str, NDArray[Any]],
    label: NDArray[Any],
    segments: Sequence[NDArray[np.str_]] = (),
) -> pa.Table:
    """The n rows as `benchmarks.study.stream.Stream` has them, in the order of their ids.

    event_date (n,) days; known_at (n,) microseconds, UTC; features: codes (n,) int32, numbers (n,)
    or tensors (n, size) float32; segments: the levels (n,) of each key.
    """
    known, keys = pa.array(known_at.astype("datetime64[us]")), np.zeros((len(ids), 0), np.str_)
    columns = {
        "instance_id": pa.array(ids, pa.string()),
        "event_date": pa.array(event_date.astype("datetime64[D]"), pa.date32()),
        "known_at": known.cast(_MOMENT),
        "segments": _lists(np.stack(segments, 1) if segments else keys),
    }
    for name, values in features.items():
        columns[name] = pa.array(values) if values.ndim == 1 else _lists(values)
    columns["label"] = pa.array(label.astype(np.float32))
    return pa.table(columns).sort_by("instance_id")


def dated(
    of: str,
    per_day: int,
    features: Mapping[str, NDArray[Any]],
    label: NDArray[Any],
    segments: Sequence[NDArray[np.str_]] = (),
) -> pa.Table:
    """The same of rows in an order but without dates: row i is asked about on day i // per_day from
    FIRST_DAY on, and its label is known on the same day. These days are invented."""
    day = np.datetime64(FIRST_DAY, "D") + np.arange(len(label)) // per_day
    ids = [f"{of}-{number:06d}" for number in range(len(label))]
    noon: NDArray[np.datetime64] = np.add(day, _NOON)
    return table(ids, day, noon, features, label, segments)


def codes(values: NDArray[np.str_]) -> NDArray[np.int32]:
    """Categories (n,) as codes from 1 on, in the order of their names; 0 is the code of null."""
    return (np.unique(values, return_inverse=True)[1] + 1).astype(np.int32)


def _lists(values: NDArray[Any]) -> pa.Array:
    """A list of m values a row, from (n, m)."""
    rows, size = values.shape
    flat = values.ravel()
    content = pa.array(flat.tolist(), pa.string()) if flat.dtype.kind == "U" else pa.array(flat)
    return pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * np.int32(size), content)
