"""How a feature becomes a number, in NumPy: the twin of `spark_jobs/features/encoding.py`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.bounds import LARGEST
from schemas.errors import DataQualityError
from schemas.sections.store import Feature

NULL_CODE = 0
SEED = 42  # of Spark's own xxhash64
_MASK = (1 << 64) - 1
_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)


def encode(name: str, column: pa.ChunkedArray, feature: Feature) -> NDArray[Any]:
    """The encoded column: codes int32 (n,) of a category, float32 (n,) of a number, float32
    (n, size) of a tensor. Raises DataQualityError for a tensor of another size."""
    return KINDS[feature.kind](name, column, feature)


def _category(_: str, column: pa.ChunkedArray, feature: Feature) -> NDArray[np.int32]:
    most = feature.buckets - 1
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_string(whole.type) or pa.types.is_large_string(whole.type):
        coded = whole.dictionary_encode()
        known = [_signed(xxh64(text.encode())) % most + 1 for text in coded.dictionary.to_pylist()]
        table = np.array([*known, NULL_CODE], np.int32)
        places = pc.fill_null(coded.indices, len(known)).to_numpy(zero_copy_only=False)
        return table[places]
    missing = whole.is_null().to_numpy(zero_copy_only=False)
    values = pc.fill_null(whole.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return np.where(missing, NULL_CODE, values % most + 1).astype(np.int32)


def _number(_: str, column: pa.ChunkedArray, feature: Feature) -> NDArray[np.float32]:
    return _usable(_floats(column), feature.default)


def _tensor(name: str, column: pa.ChunkedArray, feature: Feature) -> NDArray[np.float32]:
    default = np.full(feature.size, feature.default, np.float32)
    rows = [default if one is None else np.array(one, np.float32) for one in column.to_pylist()]
    wrong = [len(row) for row in rows if len(row) != feature.size]
    if wrong:
        raise DataQualityError(
            f"features.{name}: a tensor of {wrong[0]} numbers where shape ="
            f" {list(feature.shape or ())} has {feature.size}. Remedy: correct the rows, or shape"
            " in [features] of the pipeline file."
        )
    empty = np.empty((0, feature.size), np.float32)
    return _usable(np.stack(rows) if rows else empty, feature.default)


KINDS: dict[str, Callable[[str, pa.ChunkedArray, Feature], NDArray[Any]]] = {
    "category": _category,
    "number": _number,
    "tensor": _tensor,
}


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """float32, NaN where null; a moment in seconds and a flag as 0 or 1, as Spark casts them."""
    if pa.types.is_timestamp(column.type):
        micros = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
        values = micros.to_numpy() / 1e6
    else:
        values = column.cast(pa.float64()).to_numpy()
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _usable(values: NDArray[np.float32], default: float) -> NDArray[np.float32]:
    with np.errstate(invalid="ignore"):
        usable = np.abs(values.astype(np.float64)) <= LARGEST
    return np.where(usable, values, np.float32(default)).astype(np.float32)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def xxh64(data: bytes, seed: int = SEED) -> int:
    """XXH64 (Yann Collet, xxHash specification) as an unsigned number."""
    at, size = 0, len(data)
    if size >= 32:
        lanes = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed, (seed - _P1) & _MASK]
        while at + 32 <= size:
            for lane in range(4):
                word = int.from_bytes(data[at + 8 * lane : at + 8 * lane + 8], "little")
                lanes[lane] = _round(lanes[lane], word)
            at += 32
        turned = sum(_turn(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True))
        state = turned & _MASK
        for lane in lanes:
            state = ((state ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        state = (seed + _P5) & _MASK
    return _avalanche(_tail((state + size) & _MASK, data[at:]))


def _tail(state: int, data: bytes) -> int:
    at = 0
    while at + 8 <= len(data):
        word = _round(0, int.from_bytes(data[at : at + 8], "little"))
        state = (_turn(state ^ word, 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= len(data):
        word = int.from_bytes(data[at : at + 4], "little") * _P1 & _MASK
        state = (_turn(state ^ word, 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        state = _turn(state ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    return state


def _round(state: int, word: int) -> int:
    return _turn((state + word * _P2) & _MASK, 31) * _P1 & _MASK


def _turn(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _avalanche(state: int) -> int:
    state = (state ^ state >> 33) * _P2 & _MASK
    state = (state ^ state >> 29) * _P3 & _MASK
    return state ^ state >> 32
