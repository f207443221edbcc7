"""One hash of (id, seed): xxHash64 as Spark computes it, for NumPy.

`hash_ids(ids, seed)` equals Spark's `xxhash64(instance_id, seed)` bit for bit, for strings and
for integers, so that a row has the same place in the order wherever it is computed.
Algorithm: Yann Collet, xxHash specification, XXH64.
"""

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.selection.arrays import Array

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)
_SPARK_SEED = np.uint64(42)


@numba.njit(cache=True)
def _rotl(x: np.uint64, bits: int) -> np.uint64:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@numba.njit(cache=True)
def _word(data: Array, at: int, width: int) -> np.uint64:
    value = np.uint64(0)
    for i in range(width):
        value |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return value


@numba.njit(cache=True)
def _round(acc: np.uint64, word: np.uint64) -> np.uint64:
    return _rotl(acc + word * _P2, 31) * _P1


@numba.njit(cache=True)
def _avalanche(h: np.uint64) -> np.uint64:
    h ^= h >> np.uint64(33)
    h *= _P2
    h ^= h >> np.uint64(29)
    h *= _P3
    return h ^ (h >> np.uint64(32))


@numba.njit(cache=True)
def _hash_bytes(data: Array, start: int, stop: int, seed: np.uint64) -> np.uint64:
    size = stop - start
    at = start
    if size >= 32:
        v1, v2, v3, v4 = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while at + 32 <= stop:
            v1 = _round(v1, _word(data, at, 8))
            v2 = _round(v2, _word(data, at + 8, 8))
            v3 = _round(v3, _word(data, at + 16, 8))
            v4 = _round(v4, _word(data, at + 24, 8))
            at += 32
        h = _rotl(v1, 1) + _rotl(v2, 7) + _rotl(v3, 12) + _rotl(v4, 18)
        for v in (v1, v2, v3, v4):
            h = (h ^ _round(np.uint64(0), v)) * _P1 + _P4
    else:
        h = seed + _P5
    h += np.uint64(size)
    while at + 8 <= stop:
        h = _rotl(h ^ _round(np.uint64(0), _word(data, at, 8)), 27) * _P1 + _P4
        at += 8
    if at + 4 <= stop:
        h = _rotl(h ^ (_word(data, at, 4) * _P1), 23) * _P2 + _P3
        at += 4
    while at < stop:
        h = _rotl(h ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += 1
    return _avalanche(h)


@numba.njit(cache=True)
def hash_long(value: np.uint64, seed: np.uint64) -> np.uint64:
    """XXH64 of the 8 bytes of an integer; callable from other kernels."""
    h = seed + _P5 + np.uint64(8)
    return _avalanche(_rotl(h ^ _round(np.uint64(0), value), 27) * _P1 + _P4)


@numba.njit(cache=True)
def _hash_int(value: np.uint64, seed: np.uint64) -> np.uint64:
    """XXH64 of 4 bytes."""
    h = seed + _P5 + np.uint64(4)
    return _avalanche(_rotl(h ^ (value * _P1), 23) * _P2 + _P3)


@numba.njit(cache=True)
def _hash_strings(data: Array, offsets: Array, seed: np.uint64) -> Array:
    out = np.empty(offsets.size - 1, np.uint64)
    for i in range(out.size):
        out[i] = hash_long(seed, _hash_bytes(data, offsets[i], offsets[i + 1], _SPARK_SEED))
    return out


@numba.njit(cache=True)
def _fold_strings(data: Array, offsets: Array, valid: Array, ends: Array, seeds: Array) -> Array:
    out = seeds.copy()
    for i in range(out.size):
        for j in range(ends[i], ends[i + 1]):
            if valid[j]:
                out[i] = _hash_bytes(data, offsets[j], offsets[j + 1], out[i])
    return out


@numba.njit(cache=True)
def _fold_numbers(words: Array, wide: bool, valid: Array, ends: Array, seeds: Array) -> Array:
    out = seeds.copy()
    for i in range(out.size):
        for j in range(ends[i], ends[i + 1]):
            if valid[j]:
                out[i] = hash_long(words[j], out[i]) if wide else _hash_int(words[j], out[i])
    return out


@numba.njit(cache=True)
def _hash_longs(values: Array, seed: np.uint64) -> Array:
    out = np.empty(values.size, np.uint64)
    for i in range(out.size):
        out[i] = hash_long(seed, hash_long(values[i], _SPARK_SEED))
    return out


def hash_ids(ids: pa.Array, seed: int) -> Array:
    """uint64 hash of each id, shape (n,); ids are strings or integers without nulls.

    Integers are hashed as 64-bit, as Spark does for BIGINT. Raises TypeError for other types.
    """
    if ids.null_count:
        raise TypeError("an id is null; every candidate needs one")
    word = np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
    if pa.types.is_integer(ids.type):
        return _hash_longs(
            ids.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64), word
        )
    if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
        raise TypeError(f"ids are {ids.type}; strings or integers can be hashed")
    return _hash_strings(*_bytes_of(ids), word)


def _bytes_of(strings: pa.Array) -> tuple[Array, Array]:
    """The UTF-8 of all strings in a row, and where each begins, the end of the last included."""
    if not len(strings):
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    strings = strings.cast(pa.large_string())
    _, offsets, data = strings.buffers()
    ends = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return content, ends


def hash_columns(*columns: pa.Array) -> Array:
    """Spark's `xxhash64` of columns (n,) together, as int64; a null changes nothing.

    Strings, timestamps in microseconds, integers and floats of 32 or 64 bits, and lists of these.
    """
    hashes = np.full(len(columns[0]), _SPARK_SEED)
    for values in columns:
        ends = np.arange(len(values) + 1)
        if pa.types.is_list(values.type):
            ends = np.append(0, np.cumsum(pc.fill_null(pc.list_value_length(values), 0)))
            values = values.flatten()
        valid = np.asarray(values.is_valid())
        if pa.types.is_string(values.type):
            data, offsets = _bytes_of(pc.fill_null(values, ""))
            hashes = _fold_strings(data, offsets, valid, ends, hashes)
        else:
            words, wide = _words_of(values)
            hashes = _fold_numbers(words, wide, valid, ends, hashes)
    return hashes.view(np.int64)


def _words_of(numbers: pa.Array) -> tuple[Array, bool]:
    """Numbers (n,) as the bits that Spark hashes, uint64, and whether these are 64 or 32."""
    if pa.types.is_timestamp(numbers.type):
        numbers = numbers.cast(pa.int64())
    values = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values) + values.dtype.type(
            0
        )
    wide = values.dtype.itemsize == 8
    return values.view(np.uint64 if wide else np.uint32).astype(np.uint64), wide


@numba.njit(cache=True)
def _rehashed(hashes: Array, salt: np.uint64) -> Array:
    out = np.empty(hashes.size, np.uint64)
    for i in range(hashes.size):
        out[i] = hash_long(hashes[i], salt)
    return out


def hash_of_hashes(hashes: Array, salt: int) -> Array:
    """A second uint64 for each hash, independent of the order that the first one gives."""
    return _rehashed(hashes, np.uint64(salt))


def hash_step(seed: int, *parts: int) -> int:
    """A 64-bit hash of (seed, parts...): the source of every random number that no id has."""
    h = np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
    for part in parts:
        h = np.uint64(hash_long(np.uint64(part & 0xFFFFFFFFFFFFFFFF), h))
    return int(h)
