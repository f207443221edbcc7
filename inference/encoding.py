"""How a feature becomes a number, without Spark: what a model server sends through its model.

The twin of `spark_jobs/features/encoding.py`, equal to it in every bit; docs/serving.md says it in
words. NumPy and pyarrow are all that it needs.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from inference.raw import typed_column
from inference.xxh64 import xxh64
from schemas.bounds import LARGEST
from schemas.bundle import ModelCard
from schemas.columns import ColumnType
from schemas.encoding import INSTANCES, encoding_of
from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import Pipeline, load_pipeline
from schemas.sections.store import Feature

# The code of null; values take the codes above it.
NULL_CODE = 0
KEPT = 1 << 16  # hashes of texts, as a server sees the same ones again


class Encoded(NamedTuple):
    """A feature, and the declared type of the column that it is read from."""

    feature: Feature
    type: ColumnType


def encode(
    pipeline: Pipeline | str | Path,
    values: Mapping[str, Any],
    card: ModelCard | None = None,
) -> dict[str, NDArray[Any]]:
    """n instances as a model takes them: int32 codes (n,) of a category, float32 (n,) of a number,
    float32 (n, size) of a tensor, by feature, in the order of the pipeline file.

    pipeline: or its file. values: by feature, n each as the table holds them, None where unknown:
    lists, arrays, an Arrow table or a data frame; other columns are passed over. card: of the model
    that is to answer, whose own features count then, as it was trained with them.

    Raises ConfigurationError where a feature is not among the values, or where the card has one
    that the pipeline lacks; DataQualityError for a value of another type than its column's.
    """
    pipeline = pipeline if isinstance(pipeline, Pipeline) else load_pipeline(pipeline)
    return encode_features(encoded_features(pipeline, card), values)


def encode_features(
    features: Mapping[str, Encoded], values: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """The same of `encoded_features`, for who asks for them once and encodes often."""
    names = getattr(values, "column_names", values)
    missing = [name for name in features if name not in names]
    if missing:
        raise ConfigurationError(
            f"features: {', '.join(missing)} not among the values. Remedy: send a list for each"
            " feature, with null where a value is not known."
        )
    return {
        name: encode_column(name, typed_column(name, values[name], one.type), one.feature)
        for name, one in features.items()
    }


def encoded_features(pipeline: Pipeline, card: ModelCard | None = None) -> dict[str, Encoded]:
    """The features of a pipeline in the order of its file, or those that a model's card names.

    Raises ConfigurationError where the pipeline has none of the name and kind, or not its column.
    """
    if card is not None:
        _require_known(pipeline, card)
    encoding = encoding_of(pipeline) if card is None else card.encoding_in(pipeline)
    tables = {view.name: view.columns for view in encoding.feature_views}
    tables[INSTANCES] = pipeline.instances.columns
    names = list(pipeline.features) if card is None else [one.name for one in card.features]
    known: dict[str, Encoded] = {}
    for name in names:
        table, column = encoding.feature_source(name)
        if column not in tables[table]:
            raise ConfigurationError(
                f"features.{name}: the model that answers reads it from {table}.{column}, which the"
                f" pipeline file does not have any more. Remedy: restore {column} in"
                " [instances.columns] until the next model serves."
            )
        known[name] = Encoded(encoding.features[name], tables[table][column].type)
    return known


def _require_known(pipeline: Pipeline, card: ModelCard) -> None:
    """What a server sends are the features of its pipeline file: a model may take no other."""
    for one in card.features:
        own = pipeline.features.get(one.name)
        if own is None or own.kind != one.kind:
            raise ConfigurationError(
                f"features.{one.name}: the model of refresh {card.refresh_id} takes a {one.kind} of"
                f" this name, the pipeline file has {'none' if own is None else f'a {own.kind}'}."
                " Remedy: restore it in the file, or let a model serve that was trained on it."
            )


def encode_column(name: str, column: pa.Array, feature: Feature) -> NDArray[Any]:
    """An Arrow column of the type that its table declares, encoded: see `encode`.

    Raises DataQualityError for a tensor of another size.
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return KINDS[feature.kind](name, whole, feature)


def _category(_: str, column: pa.Array, feature: Feature) -> NDArray[np.int32]:
    """0 for null, else 1 + the hash of a string, or an integer itself, modulo (buckets - 1)."""
    if pa.types.is_integer(column.type):
        whole = _known(column.cast(pa.int64()))
    else:
        texts = column.to_pylist()
        hashes = (0 if text is None else _hash(text) for text in texts)
        whole = np.fromiter(hashes, np.int64, len(texts))
    codes = whole % np.int64(feature.buckets - 1) + 1  # of a negative number too, at least 1
    codes[_nulls(column)] = NULL_CODE
    return codes.astype(np.int32)


@lru_cache(KEPT)
def _hash(text: str) -> int:
    return xxh64(text.encode())


def _number(_: str, column: pa.Array, feature: Feature) -> NDArray[np.float32]:
    return _usable(_singles(column), feature.default)


def _tensor(name: str, column: pa.Array, feature: Feature) -> NDArray[np.float32]:
    sizes = pc.fill_null(pc.list_value_length(column), feature.size)
    wrong = sizes.filter(pc.not_equal(sizes, feature.size))
    if len(wrong):
        raise DataQualityError(
            f"features.{name}: a tensor of {wrong[0]} numbers where shape ="
            f" {list(feature.shape or ())} has {feature.size}. Remedy: correct the rows, or shape"
            " in [features] of the pipeline file."
        )
    encoded = np.full((len(column), feature.size), feature.default, np.float32)
    numbers = _usable(_singles(column.flatten()), feature.default)
    encoded[np.asarray(column.is_valid())] = numbers.reshape(-1, feature.size)
    return encoded


KINDS: dict[str, Callable[[str, pa.Array, Feature], NDArray[Any]]] = {
    "category": _category,
    "number": _number,
    "tensor": _tensor,
}


def _singles(column: pa.Array) -> NDArray[np.float32]:
    """float32, NaN where null; a flag as 0 or 1, a moment in seconds since 1970, UTC."""
    moments = pa.types.is_timestamp(column.type)
    if moments or pa.types.is_boolean(column.type):
        column = column.cast(pa.int64())
    values = _known(column)
    with np.errstate(over="ignore"):
        singles = (values / 1e6 if moments else values).astype(np.float32)
    singles[_nulls(column)] = np.nan
    return singles


def _known(column: pa.Array) -> NDArray[Any]:
    """The values, with 0 in the place of null: NumPy has no null, and would make floats of all."""
    filled = pc.fill_null(column, 0) if column.null_count else column
    return filled.to_numpy(zero_copy_only=False)


def _nulls(column: pa.Array) -> NDArray[np.bool_] | slice:
    """Where a column is null, as an index."""
    return np.asarray(column.is_null()) if column.null_count else slice(0, 0)


def _usable(values: NDArray[np.float32], default: float) -> NDArray[np.float32]:
    """The values, and the default where one is NaN, infinite or beyond `LARGEST`."""
    usable = np.abs(values.astype(np.float64)) <= LARGEST
    return np.where(usable, values, np.float32(default))
