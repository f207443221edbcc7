"""`[training]`: how the model is fitted."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from schemas.bounds import LARGEST, MOST_ROWS
from schemas.sections.fault import Fault, Wrong
from schemas.sections.section import Section


class Training(Section):
    """`[training]`: how the model is fitted."""

    epochs: int = Field(default=8, ge=1, le=10_000, description="With `patience`, at most.")
    patience: int | None = Field(
        default=None,
        ge=1,
        le=MOST_ROWS,
        description="Epochs without a better validation loss; then it ends.",
    )
    validation: float = Field(
        default=0.1, gt=0, le=0.5, description="Share of the sample held back by `patience`."
    )
    batch_size: int = Field(default=256, ge=1, le=1 << 20, description="Of all ranks together.")
    loss: Literal["squared", "absolute", "huber"] = Field(
        default="squared", description="Of a regression; the other tasks have cross-entropy."
    )
    huber_delta: float = Field(default=1.0, gt=0, le=LARGEST, description="In units of the label.")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="Of torch.")
    learning_rate: float = Field(default=3e-3, gt=0, le=10, description="Of the optimizer.")
    weight_decay: float = Field(default=1e-4, ge=0, le=10, description="Of the optimizer.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Of sgd.")
    clip: float | None = Field(default=None, gt=0, description="Largest norm of a gradient.")
    pull: float = Field(
        default=0.0, ge=0, le=1e6, description="L2-SP: how hard the parent's weights pull."
    )
    pulls: list[Annotated[float, Field(ge=0, le=1e6)]] = Field(
        default=[],
        max_length=16,
        description="Pulls to choose from, by the forward rows, instead of `pull`.",
    )
    warm_start: bool = Field(default=True, description="Begin with the champion's weights.")
    carry_optimizer: bool = Field(
        default=True, description="Go on with the state of the parent's optimizer."
    )
    record_step: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of a Newton step of the last layer, on the records of all rows, that a"
        " warm start begins with; 0: none.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Of the forward and the backward pass."
    )
    compile: bool = Field(default=False, description="By torch.compile.")
    shuffle_rows: int = Field(
        default=1 << 18, ge=1, le=1 << 31, description="Rows mixed at a time: all, up to these."
    )
    keep: Literal["auto", "memory", "stream"] = Field(
        default="auto", description="Hold the sample in memory, or read it anew every epoch."
    )
    reader: Literal["petastorm", "arrow"] = Field(
        default="petastorm", description="What decodes the sample's files; the rows are the same."
    )
    readers: int = Field(default=2, ge=1, le=64, description="File groups decoded at a time.")
    checkpoint_steps: int = Field(
        default=1000, ge=1, le=1 << 31, description="Steps from one checkpoint to the next."
    )
    seed: int = Field(
        default=1, ge=1, lt=1 << 31, description="Of first weights, order of rows and dropout."
    )

    @model_validator(mode="after")
    def _patience_ends(self) -> "Training":
        if self.patience is not None and self.patience >= self.epochs:
            problem = (
                f"{self.patience} epochs without progress do not fit into training.epochs ="
                f" {self.epochs}"
            )
            raise Wrong(Fault("patience", self.patience, problem, "lower it, or raise epochs"))
        return self

    @property
    def passes(self) -> int:
        """How often each row goes through a step, at most: every epoch of every pull that is
        tried."""
        return self.epochs * max(1, len(self.pulls))

    def decides(self) -> dict[str, Any]:
        """The settings that the fitted weights depend on."""
        return self.model_dump(exclude={"keep", "reader", "readers", "checkpoint_steps", "pulls"})
