"""What is known of every row, as columns of numbers; strings become their levels."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigurationError, DataQualityError
from spark_jobs.selection.arrays import Array

LEAST = 20  # drawn rows that a level of a string needs for a column of its own


def auxiliaries(table: pa.Table, names: Sequence[str], drawn: Array) -> dict[str, Array]:
    """The columns (N, q) of each auxiliary over all rows, each of mean 0 and deviation 1.

    A number or a boolean is one column, a list of numbers one for each place, a string or a list of
    strings one for each level that at least 20 of the drawn rows (N,) have, but the most frequent.
    `a*b` is the products of the columns of both, of all levels then. What does not vary is left
    out. Raises ConfigurationError for a type that is none of these, DataQualityError for a null, a
    number that is not finite and lists of different lengths.
    """
    return {name: _standardised(_product(table, name.split("*"), drawn)) for name in names}


def _product(table: pa.Table, factors: list[str], drawn: Array) -> Array:
    """The columns (N, q) of one auxiliary, or of the product of several."""
    nothing, whole = np.empty((len(drawn), 0)), len(factors) > 1
    first, *others = (
        np.hstack([nothing, *_columns(one, _whole(table[one]), drawn, whole)]) for one in factors
    )
    for other in others:
        first = (first[:, :, None] * other[:, None, :]).reshape(len(drawn), -1)
    return first


def _standardised(columns: Array) -> Array:
    deviation = columns.std(axis=0)
    told = deviation > 1e-12 * np.abs(columns).max(axis=0, initial=0.0)
    scaled: Array = (columns[:, told] - columns[:, told].mean(axis=0)) / deviation[told]
    return scaled


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _columns(name: str, column: pa.Array, drawn: Array, whole: bool) -> list[Array]:
    """The columns (N, q) of one column of the table; whole: with the most frequent level."""
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
            for part in _columns(f"{name}[{place}]", one, drawn, whole)
        ]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [_levels(column, drawn, whole)]
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


def _levels(strings: pa.Array, drawn: Array, whole: bool) -> Array:
    """Indicators (N, q) of the levels that enough drawn rows have."""
    codes = strings.dictionary_encode()
    code = codes.indices.to_numpy(zero_copy_only=False)
    count = np.bincount(code[drawn], minlength=len(codes.dictionary))
    names = np.asarray(codes.dictionary.to_pylist(), object)
    kept = sorted(np.flatnonzero(count >= LEAST), key=lambda level: (-count[level], names[level]))
    return np.equal.outer(code, np.array(kept if whole else kept[1:], np.int64)).astype(np.float64)
