"""Columns of an Arrow table as NumPy arrays."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import DataQualityError
from spark_jobs.selection.arrays import Array


def holds(table: pa.Table, name: str) -> bool:
    """Whether a column is there and not null throughout."""
    return name in table.column_names and table[name].null_count < table.num_rows


def column(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    if table[name].num_chunks == 1:
        return table[name].chunk(0)
    whole = table[name].combine_chunks()
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def floats(values: pa.Array) -> Array:
    """Numbers (n,), NaN where null."""
    return values.to_numpy(zero_copy_only=False).astype(np.float64)


def encoded(values: pa.Array) -> tuple[Array, tuple[str, ...]]:
    """Strings as codes into their sorted names, and the names; null counts as the empty string."""
    coded = pc.fill_null(values.cast(pa.string()), "").dictionary_encode()
    values = coded.dictionary.to_pylist()
    names = tuple(sorted(values))
    return recode(values, names)[coded.indices.to_numpy()].astype(np.int32), names


def recode(old: Sequence[str], new: Sequence[str]) -> Array:
    """The code among the new names of each old one, (old,)."""
    place = {name: code for code, name in enumerate(new)}
    return np.array([place[name] for name in old], np.int32)


def width_of(name: str, lists: pa.Array) -> int:
    """The one length of a column's lists. Raises DataQualityError where they differ in length."""
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
    width = width_of(name, lists.drop_null())
    out: Array = np.zeros((n, width), dtype)
    if width:
        out[valid] = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return out
