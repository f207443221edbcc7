"""What a model's program takes: its inputs, checked and stacked from encoded columns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import Pipeline

Kind = Literal["category", "number", "tensor"]


class ModelInput(BaseModel):
    """One feature as the model takes it: a code below `buckets`, a number, or a tensor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind
    buckets: int | None = Field(default=None, ge=2, description="Only of a category.")
    shape: tuple[int, ...] | None = Field(default=None, description="Only of a tensor.")


def model_inputs(pipeline: Pipeline) -> list[ModelInput]:
    """The features of a pipeline as its model takes them, in the order of the file."""
    return [
        ModelInput(
            name=name,
            kind=spec.kind,
            buckets=spec.buckets if spec.kind == "category" else None,
            shape=spec.shape,
        )
        for name, spec in pipeline.features.items()
    ]


def feature_column(feature: ModelInput, column: pa.Array) -> NDArray[Any]:
    """An encoded Arrow column as NumPy: (n,), or (n, numbers) of a tensor."""
    if feature.kind == "tensor":
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), -1) if len(column) else flat.reshape(0, 1)
    return column.to_numpy(zero_copy_only=False)


def stack_inputs(
    features: Sequence[ModelInput], columns: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[Any], ...]:
    """Encoded columns as the program takes them: categories int64 (n, c), numbers float32 (n, m),
    then one float32 (n, *shape) a tensor. Raises what `check_inputs` raises."""
    check_inputs(features, columns)
    rows = len(columns[features[0].name])
    inputs = tuple(np.empty((rows, *shape), dtype) for dtype, shape in input_types(features))
    fill_inputs(inputs, features, columns)
    return inputs


def check_inputs(features: Sequence[ModelInput], columns: Mapping[str, NDArray[Any]]) -> None:
    """Raises ConfigurationError for a column that is not there, and DataQualityError for a code
    outside 0 ... buckets - 1, which an embedding would refuse without naming the feature, a tensor
    of another size, or columns of different lengths, of which NumPy would repeat the shorter."""
    missing = [feature.name for feature in features if feature.name not in columns]
    if missing:
        raise ConfigurationError(
            f"features: the model takes {', '.join(missing)}, the rows do not have it."
            " Remedy: restore the feature in the pipeline, or train a model without it."
        )
    _check_lengths(features, columns)
    for feature in features:
        if feature.kind == "category":
            _check_codes(feature, columns[feature.name])
        elif feature.kind == "tensor":
            _check_size(feature, columns[feature.name])


def input_types(
    features: Sequence[ModelInput],
) -> list[tuple[type[np.generic], tuple[int, ...]]]:
    """Type and shape of a row of each of a program's inputs."""
    kinds = [feature.kind for feature in features]
    return [
        (np.int64, (kinds.count("category"),)),
        (np.float32, (kinds.count("number"),)),
        *((np.float32, f.shape or ()) for f in features if f.kind == "tensor"),
    ]


def fill_inputs(
    inputs: Sequence[NDArray[Any]],
    features: Sequence[ModelInput],
    columns: Mapping[str, NDArray[Any]],
) -> None:
    """Write checked columns into arrays of the `input_types`, each (n, ...)."""
    categories, numbers, *tensors = inputs
    for stacked, kind in ((categories, "category"), (numbers, "number")):
        for place, feature in enumerate(f for f in features if f.kind == kind):
            stacked[:, place] = columns[feature.name]
    for tensor, feature in zip(tensors, (f for f in features if f.kind == "tensor"), strict=True):
        tensor[...] = columns[feature.name].reshape(tensor.shape)


def columns_of(
    features: Sequence[ModelInput], inputs: Sequence[NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The columns by feature of what `stack_inputs` stacked of the same features."""
    categories, numbers, *tensors = inputs
    places = {
        "category": iter(categories.T),
        "number": iter(numbers.T),
        "tensor": iter(tensors),
    }
    return {feature.name: next(places[feature.kind]) for feature in features}


def _check_lengths(features: Sequence[ModelInput], columns: Mapping[str, NDArray[Any]]) -> None:
    first = features[0].name
    for feature in features:
        column = columns[feature.name]
        flat = feature.kind == "tensor" or column.ndim == 1
        if column.ndim == 0 or not flat or len(column) != len(columns[first]):
            raise DataQualityError(
                f"features.{feature.name}: an array of shape {column.shape} beside"
                f" {columns[first].shape} of {first}. Remedy: give every column one entry a row."
            )


def _check_size(feature: ModelInput, column: NDArray[Any]) -> None:
    shape, rows = feature.shape or (), len(column)
    if rows and column.size != rows * math.prod(shape):
        raise DataQualityError(
            f"features.{feature.name}: {column.size // rows} numbers a row, the model takes"
            f" {list(shape)}. Remedy: give tensors of that shape, or train a new model."
        )


def _check_codes(feature: ModelInput, codes: NDArray[Any]) -> None:
    if codes.size and not (codes.min() >= 0 and codes.max() < (feature.buckets or 0)):
        raise DataQualityError(
            f"features.{feature.name}: codes from {codes.min()} to {codes.max()}, the model knows"
            f" 0 to {(feature.buckets or 0) - 1}. Remedy: encode the rows with the number of"
            " buckets that the model was trained with, or train a new one."
        )
