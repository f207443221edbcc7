"""Candidates as NumPy arrays, in the order of the hash of (id, seed)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigurationError, DataQualityError
from schemas.shared_columns import MAX_LOGITS
from schemas.statistics import CLASSES, PROJECTED, statistics, summarised
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.order import Order, hash_order


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
        columns = [_recode(old, new)[codes] for old, new, codes in places]
        segments = np.stack(columns, axis=1) if columns else self.segments
        version = _recode(self.vocabulary.versions, vocabulary.versions)[self.version]
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


def _recode(old: Sequence[str], new: Sequence[str]) -> Array:
    place = {name: code for code, name in enumerate(new)}
    return np.array([place[name] for name in old], np.int32)


def from_arrow(table: pa.Table, seed: int) -> Records:
    """Records of candidates, one row an instance, with the columns of `forward_records`.

    A null label has not matured; 0 stands in for it. Raises DataQualityError where lists of one
    column differ in length.
    """
    order = hash_order(column(table, "instance_id"), seed)
    label = column(table, "label") if table.num_rows else pa.array([], pa.float64())
    row_weight = column(table, "row_weight") if holds(table, "row_weight") else None
    rows = pa.array(order.row)
    return records_of(
        table.drop_columns(["label"]),
        order,
        label.take(rows),
        0.0,
        None if row_weight is None else row_weight.take(rows),
    )


def records_of(
    table: pa.Table,
    order: Order,
    label: pa.Array,
    provisional: float,
    row_weight: pa.Array | None = None,
) -> Records:
    """Records of the rows in `order`; label (n,) and row_weight (n,) are in that order,
    `provisional` and 1 where null."""
    table = table.take(pa.array(order.row)).combine_chunks()
    prediction = predictions(table)
    labels, n = _floats(pc.fill_null(label.cast(pa.float64()), provisional)), table.num_rows
    require_classes(prediction, labels)
    names = [name for name in ("instance_id", "event_time") if name in table.column_names]
    version, versions = _version(table)
    segments, levels = _segments(table)
    return Records(
        hash=order.hash,
        prediction=prediction,
        label=labels,
        matured=np.asarray(label.is_valid()),
        version=version,
        day=_day(table),
        segments=segments,
        sketch=_sketch(table),
        propensity=_or_one(column(table, "propensity") if holds(table, "propensity") else None, n),
        row_weight=_or_one(row_weight, n),
        vocabulary=Vocabulary(versions, levels),
        kept=table.select(names),
    )


def predictions(table: pa.Table) -> Array:
    """Logits or values (n,); of a multiclass model logits (n, C) or statistics (n, 36)."""
    outputs = _outputs(table)
    return outputs if outputs.shape[1] else _floats(column(table, "prediction"))


def _outputs(table: pa.Table) -> Array:
    """Logits (n, C) of at most 16 classes, the statistics (n, 36) of more; width 0 without."""
    name = "statistics" if holds(table, "statistics") else "logits"
    if holds(table, name) and table[name].null_count:
        raise DataQualityError(
            f"column {name}: null in {table[name].null_count} of {table.num_rows} records."
            " Remedy: select records of models with one layout, or shorten the window."
        )
    if name == "statistics":
        return matrix(table, name, np.float64)
    logits = matrix(table, "logits", np.float64)
    return logits if logits.shape[1] <= MAX_LOGITS else statistics(logits).astype(np.float64)


def require_classes(outputs: Array, label: Array) -> None:
    """Refuse a label (n,) that is no class of its record; outputs as `predictions` gives them."""
    if outputs.ndim == 1:
        return
    classes = outputs[:, CLASSES] if summarised(outputs) else np.full(label.size, outputs.shape[1])
    wrong = ~((label >= 0) & (label < classes) & (label == np.floor(label)))
    if wrong.any():
        first = np.flatnonzero(wrong)[0]
        raise DataQualityError(
            f"label = {label[first]:g}: the record's model has {classes[first]:g} classes, from 0."
            f" Remedy: write labels.classes = {classes[first]:g} in the pipeline file, so that such"
            " labels are rejects; a selection.unmatured_label must be a class too."
        )


def holds(table: pa.Table, name: str) -> bool:
    """Whether a column is there and not null throughout."""
    return name in table.column_names and table[name].null_count < table.num_rows


def column(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    if table[name].num_chunks == 1:
        return table[name].chunk(0)
    whole = table[name].combine_chunks()
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def _floats(values: pa.Array) -> Array:
    return values.to_numpy(zero_copy_only=False).astype(np.float64)


def _version(table: pa.Table) -> tuple[Array, tuple[str, ...]]:
    if "model_version" not in table.column_names:
        return np.zeros(table.num_rows, np.int32), ("",)
    return encoded(column(table, "model_version"))


def encoded(values: pa.Array) -> tuple[Array, tuple[str, ...]]:
    """Strings as codes into their sorted names, and the names; null counts as the empty string."""
    coded = pc.fill_null(values.cast(pa.string()), "").dictionary_encode()
    values = coded.dictionary.to_pylist()
    names = tuple(sorted(values))
    return _recode(values, names)[coded.indices.to_numpy()].astype(np.int32), names


def _day(table: pa.Table) -> Array:
    if "event_time" not in table.column_names:
        return np.zeros(table.num_rows, np.int32)
    moments = column(table, "event_time").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return (moments.to_numpy(zero_copy_only=False) // 86_400_000_000).astype(np.int32)


def _segments(table: pa.Table) -> tuple[Array, tuple[tuple[str, ...], ...]]:
    n = table.num_rows
    if "segments" not in table.column_names or pa.types.is_null(table["segments"].type):
        return np.zeros((n, 0), np.int32), ()
    lists = column(table, "segments")
    width = _width("segments", lists)
    values = lists.flatten()
    places = [encoded(values.take(pa.array(np.arange(n) * width + j))) for j in range(width)]
    codes = np.zeros((n, width), np.int32)
    for place, (code, _) in enumerate(places):
        codes[:, place] = code
    return codes, tuple(names for _, names in places)


def _width(name: str, lists: pa.Array) -> int:
    lengths = np.unique(np.asarray(pc.fill_null(lists.value_lengths(), 0)))
    if lengths.size > 1:
        raise DataQualityError(
            f"column {name}: lists of {lengths[0]} to {lengths[-1]} entries; one length is needed."
            " Remedy: select records of models with one layout, or shorten the window."
        )
    return int(lengths[0]) if lengths.size else 0


def matrix(table: pa.Table, name: str, dtype: type) -> Array:
    """A list column as (n, width); rows without a list are zero, no lists give width 0. Raises
    DataQualityError where they differ in length."""
    n = table.num_rows
    if name not in table.column_names or pa.types.is_null(table[name].type):
        return np.zeros((n, 0), dtype)
    lists = column(table, name)
    valid = np.asarray(lists.is_valid())
    width = _width(name, lists.drop_null())
    out: Array = np.zeros((n, width), dtype)
    if width:
        out[valid] = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return out


def _sketch(table: pa.Table) -> Array:
    """Sketches (n, width) of the widest: models of one window may have others, and what a narrower
    one lacks is zero, as of a record without any."""
    if not holds(table, "sketch"):
        return np.zeros((table.num_rows, 0), np.float32)
    lists = column(table, "sketch")
    lengths = np.asarray(pc.fill_null(lists.value_lengths(), 0))
    width, numbers = int(lengths.max(initial=0)), lists.flatten().to_numpy(zero_copy_only=False)
    if width and (lengths == width).all():
        return numbers.reshape(-1, width).astype(np.float32, copy=False)
    out: Array = np.zeros((table.num_rows, width), np.float32)
    out[np.arange(width) < lengths[:, None]] = numbers
    return out


def _or_one(values: pa.Array | None, n: int) -> Array:
    """Numbers (n,), 1 where null."""
    if values is None:
        return np.broadcast_to(1.0, n)
    return _floats(pc.fill_null(values.cast(pa.float64()), 1.0))


def widened(sketch: Array, width: int) -> Array:
    """Sketches (n, w) as (n, width), zeros where they end before; wider ones as they are."""
    lacking = width - sketch.shape[1]
    return np.pad(sketch, ((0, 0), (0, lacking))) if lacking > 0 else sketch


def infer_task(table: pa.Table) -> str:
    """Multiclass where logits are there; binary where every label is 0 or 1; else regression.

    Raises ConfigurationError where that is a guess: most labels are 0 or 1, or there are only two.
    """
    if holds(table, "logits") or holds(table, "statistics"):
        return "multiclass"
    label = column(table, "label").drop_null() if table.num_rows else pa.array([])
    known = _floats(label)
    known = known[np.isfinite(known)]
    other = known[~np.isin(known, (0.0, 1.0))]
    if other.size == 0:
        return "binary"
    if 2 * other.size < known.size or (known.size > 2 and np.unique(known).size == 2):
        raise ConfigurationError(
            f"task is not given, and label = {other[0]:g} in {other.size} of {known.size} rows is"
            ' neither 0 nor 1. Remedy: correct these, or write task = "regression".'
        )
    return "regression"


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
