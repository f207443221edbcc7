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

from schemas.inputs import ModelInput, check_inputs, fill_inputs, input_types
from trainer.data.passes import Columns
from trainer.data.reader import Rows

WORD = np.dtype(np.int64)
Words = NDArray[np.int64]
AT_ONCE = 1 << 14  # rows written column by column while they are near: some hundred bytes each


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
    targets: Field  # label, weight, offset, and 1 where the row counts: 0 where it is held back

    @staticmethod
    def of(rows: Rows) -> "Packed":
        """The rows, copied together."""
        packed = _room(len(rows), [(part.dtype, part.shape[1:]) for part in rows.inputs])
        for field, part in zip(packed.inputs, rows.inputs, strict=True):
            field.of(packed.words)[...] = part
        packed._aim(rows.label, rows.weight, rows.offset)
        return packed

    @staticmethod
    def room(count: int, features: Sequence[ModelInput]) -> "Packed":
        """Room for `count` rows, with whatever is there."""
        return _room(count, [(np.dtype(dtype), shape) for dtype, shape in input_types(features)])

    @staticmethod
    def joined(parts: Sequence["Packed"]) -> "Packed":
        """The rows of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        return parts[0].with_words(np.concatenate([part.words for part in parts]))

    def fill(self, features: Sequence[ModelInput], columns: Columns) -> None:
        """Write as many encoded rows over these. Raises what `check_inputs` raises."""
        check_inputs(features, columns)
        for start in range(0, len(self), AT_ONCE):
            here = slice(start, start + AT_ONCE)
            part = self.part(start, start + AT_ONCE)
            some = {name: column[here] for name, column in columns.items()}
            fill_inputs([field.of(part.words) for field in part.inputs], features, some)
            part._aim(some["label"], some.get("weight", 1), some.get("offset", 0))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.words)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which rows (n,) are not held back, close together."""
        return self.targets.of(self.words)[:, 3] > 0

    def _aim(
        self,
        label: NDArray[np.float32],
        weight: NDArray[np.float32] | int,
        offset: NDArray[np.float32] | int,
    ) -> None:
        targets = self.targets.of(self.words)
        targets[:, 0], targets[:, 1], targets[:, 2], targets[:, 3] = label, weight, offset, 1

    def with_words(self, words: Words) -> "Packed":
        """Other rows of the same layout."""
        return Packed(words, self.inputs, self.targets)

    def part(self, start: int, end: int) -> "Packed":
        """Rows start ... end - 1, a view."""
        return self.with_words(self.words[start:end])

    def take(self, places: NDArray[np.int64]) -> "Packed":
        """The rows at these places, in this order."""
        return self.with_words(np.take(self.words, places, axis=0))

    def hold_back(self, these: NDArray[np.bool_]) -> None:
        """Let some of the rows (n,) weigh nothing and not count."""
        self.targets.of(self.words)[these, 1::2] = 0

    def without(self, these: NDArray[np.bool_]) -> "Packed":
        """A copy with some of the rows (n,) held back."""
        changed = self.with_words(self.words.copy())
        changed.hold_back(these)
        return changed

    def rows(self) -> Rows:
        """The rows as they were packed, each part for itself."""
        label, weight, offset = np.ascontiguousarray(self.targets.of(self.words)[:, :3].T)
        inputs = tuple(np.ascontiguousarray(field.of(self.words)) for field in self.inputs)
        return Rows(inputs, label, weight, offset)


def _room(count: int, inputs: Sequence[tuple[np.dtype[Any], tuple[int, ...]]]) -> Packed:
    """Room for `count` rows with inputs of these types and shapes of a row."""
    fields, width = [], 0
    for dtype, shape in [*inputs, (np.dtype(np.float32), (4,))]:
        end = width + -(-math.prod(shape) * dtype.itemsize // WORD.itemsize)
        fields.append(Field(width, end, dtype, shape))
        width = end
    return Packed(np.empty((count, width), WORD), tuple(fields[:-1]), fields[-1])
