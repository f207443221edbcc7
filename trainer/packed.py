"""Rows as one matrix of words, a row's parts side by side: taking a row is one copy, not five.

Rows in random order are met all over the memory, and each meeting costs more than the bytes that
are read there. So inputs, label, weight and offset of a row lie together; what is taken is seen
again as what it was, without another copy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.reader import Rows

WORD = np.dtype(np.int64)
Words = NDArray[np.int64]


@dataclass(frozen=True)
class Field:
    """Where a part of each row lies."""

    start: int  # its first word
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # of one row

    def of(self, words: Words) -> NDArray[Any]:
        """The part (n, ...) of words (n, w): a view."""
        flat = words[:, self.start : self.end].view(self.dtype)[:, : math.prod(self.shape)]
        return flat.reshape(len(words), *self.shape)

    def tensor(self, words: Tensor) -> Tensor:
        """The same of a tensor."""
        dtype = _TENSORS[self.dtype.name]
        flat = words[:, self.start : self.end].view(dtype)[:, : math.prod(self.shape)]
        return flat.unflatten(1, self.shape) if len(self.shape) != 1 else flat


_TENSORS = {
    "int64": torch.int64,
    "int32": torch.int32,
    "float32": torch.float32,
    "uint8": torch.uint8,
}


@dataclass(frozen=True)
class Packed:
    """n rows as words (n, w)."""

    words: Words
    inputs: tuple[Field, ...]
    targets: Field  # label, weight and offset

    @staticmethod
    def of(rows: Rows) -> "Packed":
        """The rows, copied together."""
        targets = np.stack([rows.label, rows.weight, rows.offset], axis=1)
        parts = [*rows.inputs, targets.astype(np.float32, copy=False)]
        fields, width = [], 0
        for part in parts:
            shape = part.shape[1:]
            end = width + -(-math.prod(shape) * part.itemsize // WORD.itemsize)
            fields.append(Field(width, end, part.dtype, shape))
            width = end
        words = np.empty((len(rows), width), WORD)
        for field, part in zip(fields, parts, strict=True):
            field.of(words)[...] = part
        return Packed(words, tuple(fields[:-1]), fields[-1])

    @staticmethod
    def joined(parts: Sequence["Packed"]) -> "Packed":
        """The rows of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        return parts[0].with_words(np.concatenate([part.words for part in parts]))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.words)

    @property
    def weight(self) -> NDArray[np.float32]:
        """Weights (n,), a view."""
        return self.targets.of(self.words)[:, 1]

    def with_words(self, words: Words) -> "Packed":
        """Other rows of the same layout."""
        return Packed(words, self.inputs, self.targets)

    def part(self, start: int, end: int) -> "Packed":
        """Rows start ... end - 1, a view."""
        return self.with_words(self.words[start:end])

    def take(self, places: NDArray[np.int64]) -> "Packed":
        """The rows at these places, in this order."""
        return self.with_words(np.take(self.words, places, axis=0))

    def without_weight(self, these: NDArray[np.bool_]) -> "Packed":
        """A copy in which some of the rows (n,) weigh nothing."""
        changed = self.with_words(self.words.copy())
        changed.weight[these] = 0
        return changed

    def rows(self) -> Rows:
        """The rows as they were packed, each part for itself."""
        label, weight, offset = np.ascontiguousarray(self.targets.of(self.words).T)
        inputs = tuple(np.ascontiguousarray(field.of(self.words)) for field in self.inputs)
        return Rows(inputs, label, weight, offset)
