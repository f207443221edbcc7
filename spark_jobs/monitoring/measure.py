"""What one forward record says of its model: numbers that can be added up, and a bin to count by.

Pure functions over Arrow and NumPy, on as many records as there are at once.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import statistics
from schemas.statistics import summarised
from spark_jobs.candidates.in_sample import in_sample
from spark_jobs.selection import tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.columns import column, matrix
from spark_jobs.selection.from_arrow import require_classes

# A bin is the sign, the exponent and 10 bits of the mantissa of a float32: at most 0.1 % wide,
# whatever the unit, and in the order of the values.
_SHIFT = 13
NUMBERS = ("loss", "expected", "predicted", "observed")


def bin_of(values: Array) -> Array:
    """Bin of each finite value (n,), int32; larger values are in no smaller bin."""
    bits = np.abs(values).astype(np.float32).view(np.int32) >> _SHIFT
    return np.where(values < 0, -1 - bits, bits).astype(np.int32)


def measures(task: str, prediction: Array, label: Array) -> dict[str, Array]:
    """Of each record (n,): `bin` of what it predicted, `loss`, `expected` (the loss that the
    prediction itself expects), and `predicted` beside `observed`.

    prediction: (n,) or (n, m), as `from_arrow.predictions` has it. label (n,): NaN where none
    counts; NaN then stands in what needs it. What is predicted is the chance of a positive
    (binary), the chance of the likeliest class (multiclass; observed: whether it was right), or the
    value (regression, whose predictions expect no loss: NaN). A logit, a chance or a value is
    counted by its bin. Losses are those of selection: nats, or half the squared error.
    """
    known = ~np.isnan(label)
    given = np.where(known, label, 0.0)
    loss = np.where(known, tasks.loss(task, prediction, given), np.nan)
    if task == "regression":
        counted, predicted, observed = prediction, prediction, label
        expected = np.full(label.size, np.nan)
    elif task == "binary":
        counted, predicted, observed = prediction, tasks.sigmoid(prediction), label
        expected = tasks.entropy(task, prediction)
    else:
        top, predicted = _likeliest(prediction)
        counted, observed = predicted, np.where(known, top == label, np.nan)
        expected = tasks.entropy(task, prediction)
    found = (loss, expected, predicted, observed)
    return {"bin": bin_of(counted)} | dict(zip(NUMBERS, found, strict=True))


def _likeliest(outputs: Array) -> tuple[Array, Array]:
    """The likeliest class (n,) and its chance (n,), of logits or statistics (n, m)."""
    if summarised(outputs):
        first = outputs[:, statistics.TOP_LOGITS][:, 0] - outputs[:, statistics.LOG_PARTITION]
        return outputs[:, statistics.TOP_CLASSES][:, 0], np.minimum(np.exp(first), 1.0)
    chance = tasks.softmax(outputs)
    return chance.argmax(axis=1), chance.max(axis=1)


KEPT = ("event_date", "model_version", "segments", "sketch")
MEASURED = pa.schema(
    [
        ("event_date", pa.date32()),
        ("model_version", pa.string()),
        ("segments", pa.list_(pa.string())),
        ("sketch", pa.list_(pa.float32())),
        ("bin", pa.int32()),
        *((name, pa.float64()) for name in NUMBERS),
    ]
)


def measured(records: pa.Table, task: str, learnt_until: Mapping[str, datetime]) -> pa.Table:
    """Records as `MEASURED`; those in sample are left out. What is not known is null.

    records: columns of `forward_records`, `recorded_at` in microseconds, `label` null where none
    counts. Raises DataQualityError for a label that is no class of its record.
    """
    recorded = column(records, "recorded_at").to_numpy()
    events = column(records, "event_time"), recorded
    inside = in_sample(column(records, "model_version"), *events, learnt_until)
    records = records.filter(pa.array(~inside))
    parts = [MEASURED.empty_table()]
    for rows, prediction in _by_layout(records, task):
        label = column(rows, "label").to_numpy(zero_copy_only=False).astype(np.float64)
        if task == "multiclass":
            known = ~np.isnan(label)
            require_classes(prediction[known], label[known])
        found = measures(task, prediction, label)
        columns = {name: rows[name] for name in KEPT} | {
            name: pa.array(values, from_pandas=True) for name, values in found.items()
        }
        parts.append(pa.table(columns).cast(MEASURED))
    return pa.concat_tables(parts)


def _by_layout(records: pa.Table, task: str) -> Iterator[tuple[pa.Table, Array]]:
    """Records whose predictions have one form, and these; models may differ in their outputs."""
    if task != "multiclass":
        if records.num_rows:
            yield records, column(records, "prediction").to_numpy().astype(np.float64)
        return
    kept = records["statistics"].is_valid()
    summaries = records.filter(kept)
    if summaries.num_rows:
        yield summaries, matrix(summaries, "statistics", np.float64)
    others = records.filter(pc.invert(kept))
    lengths = pc.list_value_length(others["logits"])
    for length in pc.unique(lengths).to_pylist():
        rows = others.filter(pc.equal(lengths, length))
        yield rows, matrix(rows, "logits", np.float64)
