"""What is known of every row, as columns of numbers; strings become their levels."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigurationError, DataQualityError
from spark_jobs.selection.arrays import Array

LEAST = 20  # drawn rows that a level of a string needs for a column of its own


def auxiliaries(table: pa.Table, names: list[str], drawn: Array) -> Array:
    """The auxiliary columns of all rows, shape (N, p), each of mean 0 and deviation 1.

    A number or a boolean is one column, a list of numbers one for each place, a string or a list of
    strings one for each level that at least 20 of the drawn rows (N,) have, but the most frequent.
    Raises ConfigurationError for a type that is none of these, DataQualityError for a null, a
    number that is not finite and lists of different lengths.
    """
    columns = [np.empty((table.num_rows, 0))]
    for name in names:
        columns += _columns(name, _whole(table[name]), drawn)
    all_columns = np.hstack(columns)
    deviation = all_columns.std(axis=0)
    told = deviation > 1e-12 * np.abs(all_columns).max(axis=0, initial=0.0)
    centred = all_columns[:, told] - all_columns[:, told].mean(axis=0)
    scaled: Array = centred / deviation[told]
    return scaled


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _columns(name: str, column: pa.Array, drawn: Array) -> list[Array]:
    """The columns (N, q) of one auxiliary."""
    kind = column.type
    if column.null_count:
        place = pc.index(pc.is_null(column), True).as_py()
        raise DataQualityError(
            f"auxiliary {name!r} is null in {column.null_count} of {len(column)} rows, first row"
            f" {place}: it must be known of every row. Remedy: fill it, or leave it out."
        )
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [
            part
            for place, one in enumerate(_places(name, column))
            for part in _columns(f"{name}[{place}]", one, drawn)
        ]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [_levels(column, drawn)]
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return [_numbers(name, column)[:, None]]
    raise ConfigurationError(
        f"auxiliary {name!r} is {kind}, which is neither numbers nor strings nor lists of these."
        " Remedy: cast it, or leave it out."
    )


def _places(name: str, lists: pa.Array) -> list[pa.Array]:
    """The entries of lists that have all the same length, place by place."""
    lengths = pc.list_value_length(lists)
    least, most = (end.as_py() for end in pc.min_max(lengths).values())
    if least != most:
        raise DataQualityError(
            f"auxiliary {name!r} has {least} entries in one row and {most} in another."
            " Remedy: give lists of one length, or leave it out."
        )
    return [pc.list_element(lists, place) for place in range(most or 0)]


def _numbers(name: str, column: pa.Array) -> Array:
    """A column of numbers (N,), all of them finite."""
    numbers: Array = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        raise DataQualityError(
            f"auxiliary {name!r} is {numbers[wrong[0]]} in row {wrong[0]}, one of {wrong.size} that"
            " are not finite. Remedy: correct them, or leave it out."
        )
    return numbers


def _levels(strings: pa.Array, drawn: Array) -> Array:
    """Indicators (N, q) of the levels that enough drawn rows have, but the most frequent one."""
    codes = strings.dictionary_encode()
    code = codes.indices.to_numpy(zero_copy_only=False)
    count = np.bincount(code[drawn], minlength=len(codes.dictionary))
    names = np.asarray(codes.dictionary.to_pylist(), object)
    kept = sorted(np.flatnonzero(count >= LEAST), key=lambda level: (-count[level], names[level]))
    return np.equal.outer(code, np.array(kept[1:], np.int64)).astype(np.float64)
