"""`[records]`: where somebody else's inference logs its predictions, and what its columns mean."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from schemas.sections.fault import Fault, Wrong
from schemas.sections.section import Section


def _column(name: str) -> str:
    """Any name that Spark can quote: the log is not ours."""
    if not name or "`" in name:
        remedy = "name a column, or rename it where the log is written"
        raise Wrong(Fault("", name, "empty, or with a backtick, which Spark cannot quote", remedy))
    return name


ColumnName = Annotated[str, AfterValidator(_column), Field(max_length=255)]

# A probability of 0 or 1 has no logit; these are the nearest that float32 tells from them.
CLOSEST = 1e-7
KINDS = {"binary": ("probability", "logit"), "multiclass": ("logits",), "regression": ("value",)}


class Prediction(Section):
    """`prediction = { column = "score", kind = "probability" }`."""

    column: ColumnName = Field(description="Of the log.")
    kind: Literal["probability", "logit", "logits", "value"] = Field(
        description="What it holds; the task says which it can be."
    )


class ModelVersion(Section):
    """`model_version = { column = "model" }`, or `{ value = "fraud-7" }` for one model alone."""

    column: ColumnName | None = Field(default=None, description="Of the log.")
    value: str | None = Field(default=None, min_length=1, description="Of every row, instead.")

    @model_validator(mode="after")
    def _one_of_them(self) -> "ModelVersion":
        if (self.column is None) == (self.value is None):
            both = "both column and value" if self.column else "neither column nor value"
            remedy = 'write either { column = "..." } or { value = "..." }'
            raise Wrong(Fault("", None, f"has {both}", remedy))
        return self


class RecordsSource(Section):
    """`[records]`: a log table of one row a forward pass, read by `tenforward import-records`."""

    path: str = Field(min_length=1, description="Folder or URI of a Delta table or of Parquet.")
    format: Literal["delta", "parquet"] = Field(default="delta", description="Of the log.")
    instance_id: ColumnName = Field(description="The column of the ids.")
    event_time: ColumnName = Field(description="The column of when the model was asked.")
    recorded_at: ColumnName | None = Field(default=None, description="The event time, if absent.")
    model_version: ModelVersion
    prediction: Prediction
    segments: list[ColumnName] = Field(
        default=[], description="Columns of the segment keys, in the order of instances.segments."
    )
    sketch: ColumnName | None = Field(default=None, description="A column of at most 16 numbers.")
    date: ColumnName | None = Field(
        default=None, description="A column with the UTC date of the event time, to read by."
    )
