"""A model's outputs as the columns that a forward record keeps of them."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.shared_columns import MAX_LOGITS
from schemas.statistics import statistics

_FLOATS = pa.list_(pa.float32())


def prediction_columns(prediction: NDArray[Any]) -> dict[str, pa.Array]:
    """What the table keeps of predictions (n,) or logits (n, classes): `prediction`, `logits` and
    `statistics`, of which each row has one (`schemas/statistics.py`)."""
    n = len(prediction)
    columns = {
        "prediction": pa.nulls(n, pa.float64()),
        "logits": pa.nulls(n, _FLOATS),
        "statistics": pa.nulls(n, _FLOATS),
    }
    if prediction.ndim == 1:
        columns["prediction"] = pa.array(prediction)
    elif prediction.shape[1] <= MAX_LOGITS:
        columns["logits"] = _lists(prediction)
    else:
        columns["statistics"] = _lists(statistics(prediction))
    return columns


def _lists(values: NDArray[Any]) -> pa.Array:
    """A matrix (n, width) as n lists of float32."""
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
    starts = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(starts), flat)
