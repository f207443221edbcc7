"""The k largest sizes; ties go by the hash. No probability: a row is in or out.

The k-th largest is found by radix selection: counts of the next 16 bits among the rows that share
the bits found so far, a few integer histograms that do not grow with N.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs.design import Block, Passes, States

_DIGIT = 16
_WORD = 64


class Threshold(NamedTuple):
    """Drawn are keys above `key`, and of those equal to it the hashes at or above `hash`."""

    key: int
    hash: int


def sort_key(size: Array) -> Array:
    """uint64 that orders as the sizes >= 0 do."""
    return np.ascontiguousarray(size).view(np.uint64)


def _size_key(block: Block, key: int | None) -> Array:
    return sort_key(block.size)


def _hash_at(block: Block, key: int) -> Array:
    return block.hash[sort_key(block.size) == np.uint64(key)]


def _digits(
    block: Block, keys: Callable[[Block, int], Array], given: int, prefix: int, shift: int
) -> dict[str, Array]:
    """How many keys with this prefix have each value of the next digit."""
    remaining = keys(block, given)
    if shift + _DIGIT < _WORD:
        remaining = remaining[remaining >> np.uint64(shift + _DIGIT) == np.uint64(prefix)]
    digit = (remaining >> np.uint64(shift)) & np.uint64((1 << _DIGIT) - 1)
    return {"count": np.bincount(digit.astype(np.int64), minlength=1 << _DIGIT)}


def _largest(
    passes: Passes, keys: Callable[[Block, int], Array], given: int, k: int
) -> tuple[int, int]:
    """The k-th largest key, and how many of the rows that have it are among the k largest."""
    prefix = 0
    for shift in range(_WORD - _DIGIT, -1, -_DIGIT):
        kernel = partial(_digits, keys=keys, given=given, prefix=prefix, shift=shift)
        counts = passes.total(kernel)["count"]
        above = counts.sum() - np.cumsum(counts)  # keys with a larger digit
        digit = int(np.flatnonzero(above < k)[0])
        k -= int(above[digit])
        prefix = (prefix << _DIGIT) | digit
    return prefix, k


def prepare(passes: Passes, budgets: Array, seed: int) -> States:
    """Find the threshold."""
    key, tied = _largest(passes, _size_key, 0, int(budgets.sum()))
    least, _ = _largest(passes, _hash_at, key, tied)
    return States(shared=Threshold(key, least))


def draw(block: Block, threshold: Threshold) -> Array:
    """Mask of the drawn rows."""
    keys, key = sort_key(block.size), np.uint64(threshold.key)
    return (keys > key) | ((keys == key) & (block.hash >= np.uint64(threshold.hash)))
