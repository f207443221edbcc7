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

from schemas.encoding import Encoding, encoding_of
from schemas.errors import ConfigurationError
from schemas.inputs import Kind, ModelInput
from schemas.pipeline import Pipeline, Task

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
    """`model.json`: what a program takes and gives, and where it came from.

    Format 3 brought the encoding: what the pipeline file said when the model was trained.
    """

    format: Literal[2, 3] = 3
    pipeline: str
    sketch_width: int = Field(ge=1)
    refresh_id: str
    parent_version: str | None = None
    started: str | None = Field(default=None, description="What its training started from.")
    encoding: Encoding | None = Field(
        default=None, description="Where its features are read, and how they become numbers."
    )

    def encoding_in(self, pipeline: Pipeline) -> Encoding:
        """The encoding of the features that the model takes; of an earlier release's, which did not
        keep it, by the features of that name in the pipeline.

        Raises ConfigurationError where the pipeline has none of the name.
        """
        if self.encoding is not None:
            return self.encoding
        lost = [one.name for one in self.features if one.name not in pipeline.features]
        if lost:
            raise ConfigurationError(
                f"model of refresh {self.refresh_id}: takes {', '.join(lost)}, which the pipeline"
                " file does not have any more, and an earlier release did not keep where that is"
                f" read. Remedy: restore [features.{lost[0]}] until the next model serves."
            )
        own = {one.name: pipeline.features[one.name] for one in self.features}
        kept = {
            one.name: own[one.name].model_copy(
                update={"buckets": one.buckets} if one.kind == "category" else {}
            )
            for one in self.features
        }
        return encoding_of(pipeline.model_copy(update={"features": kept}))

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
