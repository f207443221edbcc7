"""What a registered model consists of and where the registry is: shared by trainer and scorers.

A bundle is one folder of three files, none of which needs pickle:

    program.pt2          the model as a `torch.export` program, for scoring
    model.json           the card: what the program takes, and where it came from
    weights.safetensors  parameters and buffers, for a warm start

The program maps (categories int64 (n, c), numbers float32 (n, m), then one float32 (n, *shape) a
tensor feature) to (output float32 (n, outputs), sketch float32 (n, sketch_width)).
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import Pipeline, Task
from schemas.places import as_uri, is_remote, within

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PROGRAM = "program.pt2"
CARD = "model.json"
WEIGHTS = "weights.safetensors"
CHAMPION = "champion"


Kind = Literal["category", "number", "tensor"]


class ModelInput(BaseModel):
    """One feature as the model takes it: a code below `buckets`, a number, or a tensor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind
    buckets: int | None = Field(default=None, ge=2, description="Only of a category.")
    shape: tuple[int, ...] | None = Field(default=None, description="Only of a tensor.")


class Blueprint(BaseModel):
    """What a network is built from; a factory gets it (docs/models.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    architecture: str = Field(description="A name in `MODELS`, or module:factory.")
    settings: dict[str, Any] = Field(description="Of the model, by name.")
    sketch_layer: str | None = Field(default=None, description="Of a model of the user's own.")
    features: list[ModelInput] = Field(min_length=1)
    outputs: int = Field(ge=1, description="1, or the number of classes.")

    def names(self, kind: Kind) -> list[str]:
        """Names of the features of one kind, in the order of the program's columns."""
        return [feature.name for feature in self.features if feature.kind == kind]

    @property
    def buckets(self) -> list[int]:
        """Number of codes of each category, in the order of the program's columns."""
        return [f.buckets or 0 for f in self.features if f.kind == "category"]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of a row of each tensor, in the order of the program's inputs."""
        return [f.shape or () for f in self.features if f.kind == "tensor"]


class ModelCard(Blueprint):
    """`model.json`: what a program takes and gives, and where it came from."""

    format: Literal[2] = 2
    pipeline: str
    sketch_width: int = Field(ge=1)
    refresh_id: str
    parent_version: str | None = None

    def same_shape(self, other: "ModelCard") -> bool:
        """Whether both are built from the same blueprint."""
        shape = {*Blueprint.model_fields, "sketch_width"}
        return self.model_dump(include=shape) == other.model_dump(include=shape)


def read_card(folder: Path) -> ModelCard:
    """The card of a bundle. ConfigurationError when it is missing or not of this format."""
    path = folder / CARD
    try:
        return ModelCard.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"{path}: not the card of a tenforward model ({error}). Remedy: train the model again,"
            " or move the alias to a version that this release can read."
        ) from error


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
    outside 0 ... buckets - 1, which an embedding would refuse without naming the feature, or a
    tensor of another size."""
    missing = [feature.name for feature in features if feature.name not in columns]
    if missing:
        raise ConfigurationError(
            f"features: the model takes {', '.join(missing)}, the rows do not have it."
            " Remedy: restore the feature in the pipeline, or train a model without it."
        )
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


def tracking_uri(warehouse: str) -> str:
    """Where MLflow keeps runs and models: $MLFLOW_TRACKING_URI, else SQLite in the warehouse."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{_local_root(warehouse) / 'mlflow.db'}"


def artifact_location(warehouse: str) -> str | None:
    """Where bundles are stored; None leaves it to the tracking server."""
    if tracking_uri(warehouse).startswith("sqlite:"):
        return as_uri(within(warehouse, "mlartifacts"))
    return None


def _local_root(warehouse: str) -> Path:
    if is_remote(warehouse):
        raise ConfigurationError(
            f"--warehouse {warehouse}: an embedded MLflow database needs a local folder."
            " Remedy: set MLFLOW_TRACKING_URI to your tracking server, or to a database."
        )
    return Path(warehouse).resolve()


def mlflow_client(warehouse: str) -> "MlflowClient":
    """A client of the registry. The import is here because it takes 2 to 8 s."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow import MlflowClient

    uri = tracking_uri(warehouse)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def registry_exists(warehouse: str) -> bool:
    """False while the embedded database has not been made; asking MLflow would make it."""
    uri = tracking_uri(warehouse)
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def champion_version(
    client: "MlflowClient", name: str, alias: str = CHAMPION
) -> "ModelVersion | None":
    """The registry's entry of the model that serves under `name`, or of another alias, if any."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # The model, or the alias, has never been set.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def bundle_folder(client: "MlflowClient", version: "ModelVersion") -> Path:
    """The local folder of a version's bundle; a remote one is downloaded to a fresh folder."""
    from mlflow.artifacts import download_artifacts

    wanted = [PROGRAM, CARD, WEIGHTS]
    try:
        folder = Path(
            download_artifacts(artifact_uri=version.source, tracking_uri=client.tracking_uri)
        )
        missing = [name for name in wanted if not (folder / name).is_file()]
    except OSError:  # also where the whole folder is gone
        missing = wanted
    if missing:
        raise ConfigurationError(
            f"model {version.name} version {version.version}: {', '.join(missing)} not found in"
            f" {version.source}. Remedy: move the alias {CHAMPION!r} to a version that is whole."
        )
    return folder
