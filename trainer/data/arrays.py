"""An Arrow column as a NumPy array."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import DataQualityError


def array_of(name: str, column: pa.ChunkedArray) -> NDArray[Any]:
    """The column as (n,), or one of arrays as (n, numbers), without a Python object a row.

    Raises DataQualityError, which names the column, where its arrays differ in size.
    """
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if not pa.types.is_list(whole.type):
        return whole.to_numpy(zero_copy_only=False)
    lengths = np.diff(whole.offsets.to_numpy())
    if whole.null_count or np.any(lengths != lengths[:1]):
        raise DataQualityError(
            f"column {name}: {whole.null_count} rows without an array, the others of"
            f" {lengths.min()} to {lengths.max()} numbers; a tensor has the same in every row."
            " Remedy: correct the source, and select again with --rebuild."
        )
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), -1)
