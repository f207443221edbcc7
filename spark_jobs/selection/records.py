"""Candidates as NumPy arrays, in the order of the hash of (id, seed)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from schemas.errors import ConfigurationError, DataQualityError
from schemas.statistics import PROJECTED, summarised
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.columns import column, recode
from spark_jobs.selection.order import hash_order


class Vocabulary(NamedTuple):
    """What the codes of records stand for: names, sorted."""

    versions: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]  # of each segment key, in the pipeline's order

    def joined(self, other: "Vocabulary") -> "Vocabulary":
        """Every name of either."""
        if len(self.levels) != len(other.levels):
            raise DataQualityError(
                f"segments: records with {len(self.levels)} and with {len(other.levels)} keys."
                " Remedy: select records that one pipeline file wrote, or shorten the window."
            )
        both = zip(self.levels, other.levels, strict=True)
        return Vocabulary(_union(self.versions, other.versions), tuple(_union(*p) for p in both))


def _union(a: Iterable[str], b: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*a, *b}))


class Contents(NamedTuple):
    """What must be known of all records before their codes can be compared."""

    vocabulary: Vocabulary
    layout: tuple[int, int]  # (outputs, sketch width)
    newest: int  # the last event day
    weighted: bool  # whether a row weighs anything but 1


@dataclass(frozen=True)
class Records:
    """n candidates, ascending by hash; every array is aligned with it."""

    hash: Array  # (n,) uint64
    prediction: Array  # (n,) logit or value; (n, C) logits; (n, 36) statistics of more than 16
    label: Array  # (n,) float64; the class index for multiclass; provisional if not matured
    matured: Array  # (n,) bool: whether the label is known
    version: Array  # (n,) int32, code of the model version
    day: Array  # (n,) int32, event date in days since 1970
    segments: Array  # (n, S) int32, codes of the segment keys
    sketch: Array  # (n, d) float32; d is 0 where there is none, or none was asked for
    propensity: Array  # (n,) the chance that the row came to be here, 1 where nothing chose it
    row_weight: Array  # (n,) what the row itself counts for, 1 where nothing says so
    vocabulary: Vocabulary
    kept: pa.Table | None = None  # instance_id and event_time, where rows are to be written

    @property
    def size(self) -> int:
        """Number of records."""
        return int(self.hash.size)

    def part(self, low: int, high: int) -> "Records":
        """Rows low to high, without copying."""
        arrays = {name: getattr(self, name)[low:high] for name in _ARRAYS}
        kept = None if self.kept is None else self.kept.slice(low, high - low)
        return replace(self, **arrays, kept=kept)

    def where(self, mask: Array) -> "Records":
        """The rows of a mask."""
        arrays = {name: getattr(self, name)[mask] for name in _ARRAYS}
        kept = None if self.kept is None else self.kept.filter(pa.array(mask))
        return replace(self, **arrays, kept=kept)

    def coded(self, vocabulary: Vocabulary) -> "Records":
        """The same records with the codes of another vocabulary that has all their names."""
        if vocabulary == self.vocabulary:
            return self
        places = zip(self.vocabulary.levels, vocabulary.levels, self.segments.T, strict=True)
        columns = [recode(old, new)[codes] for old, new, codes in places]
        segments = np.stack(columns, axis=1) if columns else self.segments
        version = recode(self.vocabulary.versions, vocabulary.versions)[self.version]
        return replace(self, version=version, segments=segments, vocabulary=vocabulary)


_ARRAYS = (
    "hash",
    "prediction",
    "label",
    "matured",
    "version",
    "day",
    "segments",
    "sketch",
    "propensity",
    "row_weight",
)


def widened(sketch: Array, width: int) -> Array:
    """Sketches (n, w) as (n, width), zeros where they end before; wider ones as they are."""
    lacking = width - sketch.shape[1]
    return np.pad(sketch, ((0, 0), (0, lacking))) if lacking > 0 else sketch


def reordered(records: Records, seed: int) -> Records:
    """The same records in the order of another seed's hashes; their ids must be `kept`."""
    assert records.kept is not None
    order = hash_order(column(records.kept, "instance_id"), seed)
    arrays = {name: getattr(records, name)[order.row] for name in _ARRAYS}
    kept = records.kept.take(pa.array(order.row))
    return replace(records, **(arrays | {"hash": order.hash}), kept=kept)


def joined(parts: Sequence[Records]) -> Records:
    """Records of adjacent ranges of the order as one."""
    if len(parts) == 1:
        return parts[0]
    vocabulary = reduce(Vocabulary.joined, (part.vocabulary for part in parts))
    width = max(part.sketch.shape[1] for part in parts)
    coded = [replace(part.coded(vocabulary), sketch=widened(part.sketch, width)) for part in parts]
    arrays = {name: np.concatenate([getattr(p, name) for p in coded]) for name in _ARRAYS}
    tables = [part.kept for part in coded if part.kept is not None]
    kept = pa.concat_tables(tables) if tables else None
    return Records(**arrays, vocabulary=vocabulary, kept=kept)


def contents(records: Records) -> Contents:
    """The contents of at least one record."""
    if summarised(records.prediction):
        outputs = PROJECTED
    else:
        outputs = 1 if records.prediction.ndim == 1 else records.prediction.shape[1]
    layout = (outputs, records.sketch.shape[1])
    weighted = bool((records.row_weight != 1.0).any())
    return Contents(records.vocabulary, layout, int(records.day.max()), weighted)


def require_one_layout(widths: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """(outputs, sketch width) of all blocks, the widest sketch's; raises ConfigurationError where
    the outputs differ."""
    layouts = sorted(set(widths))
    outputs = [layouts[0][0], layouts[-1][0]]
    if outputs[0] != outputs[1]:
        raise ConfigurationError(
            f"records: {outputs[0]} outputs in some and {outputs[1]} in others."
            " Remedy: shorten selection.window_days to records of one model layout."
        )
    return outputs[0], max(width for _, width in layouts)
