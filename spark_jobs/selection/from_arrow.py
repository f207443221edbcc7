"""Candidates made of the rows of an Arrow table: what each column becomes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigurationError, DataQualityError
from schemas.shared_columns import MAX_LOGITS
from schemas.statistics import CLASSES, statistics, summarised
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.columns import column, encoded, floats, holds, matrix, width_of
from spark_jobs.selection.order import Order, hash_order
from spark_jobs.selection.records import Records, Vocabulary


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
    labels, n = floats(pc.fill_null(label.cast(pa.float64()), provisional)), table.num_rows
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
    return outputs if outputs.shape[1] else floats(column(table, "prediction"))


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


def _version(table: pa.Table) -> tuple[Array, tuple[str, ...]]:
    if "model_version" not in table.column_names:
        return np.zeros(table.num_rows, np.int32), ("",)
    return encoded(column(table, "model_version"))


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
    width = width_of("segments", lists)
    values = lists.flatten()
    places = [encoded(values.take(pa.array(np.arange(n) * width + j))) for j in range(width)]
    codes = np.zeros((n, width), np.int32)
    for place, (code, _) in enumerate(places):
        codes[:, place] = code
    return codes, tuple(names for _, names in places)


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
    return floats(pc.fill_null(values.cast(pa.float64()), 1.0))


def infer_task(table: pa.Table) -> str:
    """Multiclass where logits are there; binary where every label is 0 or 1; else regression.

    Raises ConfigurationError where that is a guess: most labels are 0 or 1, or there are only two.
    """
    if holds(table, "logits") or holds(table, "statistics"):
        return "multiclass"
    label = column(table, "label").drop_null() if table.num_rows else pa.array([])
    known = floats(label)
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
