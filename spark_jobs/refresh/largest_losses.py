"""The candidates whose labels surprised their model most: wrong labels are among these first.

Found where the candidates are written, file by file, of rows that are at hand anyway.
"""

import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MOST = 10
_COLUMNS = ["instance_id", "model_version", "label", "loss", "probability", "drawn"]
_ORDER = [("loss", "descending"), ("instance_id", "ascending")]


def largest(rows: pa.Table) -> pa.Table:
    """The rows with the largest losses, at most ten; of equal losses the first by id."""
    known = rows.select(_COLUMNS)
    return known.take(pc.select_k_unstable(known, MOST, _ORDER))


def told(parts: Iterable[pa.Table], task: str) -> list[dict[str, Any]]:
    """Those of all files, as the report has them, the largest first.

    Of classes with the chance that the model gave the label, exp(-loss); of a regression with how
    far its value was off, sqrt(2 loss).
    """
    rows = largest(pa.concat_tables(parts)).sort_by(_ORDER).to_pylist()
    return [row | _meaning(row["loss"], task) for row in rows]


def _meaning(loss: float, task: str) -> dict[str, float]:
    if task == "regression":
        return {"error": math.sqrt(2.0 * loss)}
    return {"chance_of_label": math.exp(-loss)}
