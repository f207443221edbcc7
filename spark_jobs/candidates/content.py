"""What a record or a label says, as one number: two that say the same have the same.

`candidates.rejects` has it as Spark's column, to the bit.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables import forward_records
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.columns import column
from spark_jobs.selection.hashing import hash_columns

# What tells one record from another; all the other columns are what it says.
KEY = ("instance_id", "model_version", "batch_id", "recorded_at")
SAID = tuple(one.name for one in forward_records().columns if one.name not in (*KEY, "event_date"))

LABEL_SAID = ("label", "row_weight")  # of a label, those that there are


def content(rows: pa.Table, names: tuple[str, ...] = SAID) -> Array:
    """A hash of these columns of each row, (n,) int64.

    Spark's hash passes over nulls, and from one list to the next without a mark: so the length of
    each list, and which of the values are null, are hashed after them.
    """
    values = [column(rows, name) for name in names]
    return hash_columns(*values, *map(_shape, values))


def _shape(values: pa.Array) -> pa.Array:
    if pa.types.is_list(values.type):
        return pc.fill_null(pc.list_value_length(values), -1)
    return pa.array(np.asarray(values.is_null()).astype(np.int32))
