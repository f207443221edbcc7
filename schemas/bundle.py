"""What a registered model consists of: shared by trainer and scorers.

A bundle is one folder of files, none of which needs pickle:

    program.pt2            the model as a `torch.export` program, for scoring
    model.json             the card: what the program takes, and where it came from
    weights.safetensors    parameters and buffers, for a warm start
    optimizer.safetensors  what the optimizer remembers, for a warm start; it may be missing

The program maps (categories int64 (n, c), numbers float32 (n, m), then one float32 (n, *shape) a
tensor feature) to (output float32 (n, outputs), sketch float32 (n, sketch_width)).
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import ConfigurationError
from schemas.inputs import Kind, ModelInput
from schemas.pipeline import Task

PROGRAM = "program.pt2"
CARD = "model.json"
WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"


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
