"""What selection sees of a forward record, as NumPy arrays, and the loss and residual of it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.errors import ConfigurationError
from spark_jobs.selection.arrays import Array


@dataclass(frozen=True)
class Records:
    """n candidates of one block, in the order of their hashes."""

    table: pa.Table  # as they came, sorted like the rest
    ids: pa.Array
    prediction: Array  # (n,) logit or value; (n, C) logits
    label: Array  # (n,) float64; the class index for multiclass
    segments: list[list[str]]  # n lists of keys
    sketch: Array  # (n, d) float64, d may be 0

    @property
    def size(self) -> int:
        """Number of records."""
        return len(self.ids)


def from_arrow(table: pa.Table) -> Records:
    """Records of an Arrow table with the columns of `forward_records` and known labels."""
    table = table.combine_chunks()
    logits = _matrix(table, "logits")
    prediction = logits if logits.shape[1] else _floats(table, "prediction")
    empty: list[list[str]] = [[]] * table.num_rows
    has_segments = "segments" in table.column_names
    segments = table["segments"].to_pylist() if has_segments else empty
    return Records(
        table=table,
        ids=_array(table, "instance_id"),
        prediction=prediction,
        label=_floats(table, "label"),
        segments=[keys or [] for keys in segments],
        sketch=_matrix(table, "sketch"),
    )


def _array(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _floats(table: pa.Table, name: str) -> Array:
    return table[name].to_numpy().astype(np.float64)


def _matrix(table: pa.Table, name: str) -> Array:
    """A list column as (n, width) float64; rows without a list are zero, no lists give width 0."""
    n = table.num_rows
    if name not in table.column_names or pa.types.is_null(table[name].type):
        return np.zeros((n, 0))
    column = _array(table.combine_chunks(), name)
    filled = np.asarray(column.is_valid())
    values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    width = values.size // int(filled.sum()) if filled.any() else 0
    lengths = np.asarray(column.value_lengths().drop_null())
    if width and not (lengths == width).all():
        raise ConfigurationError(
            f"column {name}: lists of {lengths.min()} to {lengths.max()} numbers; one width is"
            " needed. Remedy: select records of models with one sketch width."
        )
    out = np.zeros((n, width))
    if width:
        out[filled] = values.reshape(-1, width)
    return out


def infer_task(records: pa.Table) -> str:
    """Multiclass where logits are there; binary where every label is 0 or 1; else regression."""
    if _matrix(records, "logits").shape[1]:
        return "multiclass"
    return "binary" if np.isin(_floats(records, "label"), (0.0, 1.0)).all() else "regression"


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def softmax(logits: Array) -> Array:
    """Rows of `logits` (n, C) as probabilities."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss(task: str, prediction: Array, label: Array) -> Array:
    """Loss of each row, shape (n,): log loss in nats, or half the squared error."""
    if task == "binary":
        return np.logaddexp(0.0, prediction) - label * prediction
    if task == "multiclass":
        probability = softmax(prediction)[np.arange(label.size), label.astype(np.int64)]
        return -np.log(np.maximum(probability, 1e-300))
    return 0.5 * (prediction - label) ** 2


def residual(task: str, prediction: Array, label: Array) -> Array:
    """Gradient of the loss by the prediction, shape (n, m): m classes, else m = 1."""
    if task == "binary":
        return (sigmoid(prediction) - label)[:, None]
    if task == "multiclass":
        gap = softmax(prediction)
        gap[np.arange(label.size), label.astype(np.int64)] -= 1.0
        return gap
    return (prediction - label)[:, None]
