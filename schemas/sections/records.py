"""`[records]`: where forward records come from, and what columns of somebody else's log mean."""

from typing import Annotated, Literal, NamedTuple

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

Source = Literal["score", "online", "import"]

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


class Log(NamedTuple):
    """A log that `[records]` describes whole: where it is, and what its columns mean."""

    path: str
    format: str
    instance_id: str
    event_time: str
    recorded_at: str | None
    model_version: ModelVersion
    prediction: Prediction
    segments: list[str]
    sketch: str | None
    propensity: str | None
    date: str | None
    epoch: str | None
    where: dict[str, str]


class RecordsSource(Section):
    """`[records]`: where the forward records come from: `score` answers in batch, a server's
    recorder brings them (`online`), or `import-records` reads them from a log (`import`), which the
    other settings describe: it needs `path`, `instance_id`, `event_time`, `model_version` and
    `prediction`. A column may be a place in one, such as `response.predictions[].score`
    (docs/payload-logs.md)."""

    source: Source | None = Field(
        default=None, description='`"import"` where a log is described, else `"score"`.'
    )
    path: str | None = Field(
        default=None, min_length=1, description="Folder or URI of a Delta table, or of files."
    )
    format: Literal["delta", "parquet", "json"] = Field(
        default="delta", description="Of the log; `json` is an object a line."
    )
    instance_id: ColumnName | None = Field(default=None, description="The column of the ids.")
    event_time: ColumnName | None = Field(
        default=None, description="The column of when the model was asked."
    )
    recorded_at: ColumnName | None = Field(default=None, description="The event time, if absent.")
    model_version: ModelVersion | None = None
    prediction: Prediction | None = None
    segments: list[ColumnName] = Field(
        default=[], description="Columns of the segment keys, in the order of instances.segments."
    )
    sketch: ColumnName | None = Field(default=None, description="A column of at most 16 numbers.")
    propensity: ColumnName | None = Field(
        default=None,
        description="A column of the chance in (0, 1] with which the log kept the row; null for 1.",
    )
    date: ColumnName | None = Field(
        default=None, description="A column with the UTC date of the event time, to read by."
    )
    epoch: Literal["s", "ms", "us"] | None = Field(
        default=None,
        description="What numbers of event_time and recorded_at count since 1970, UTC.",
    )
    where: dict[ColumnName, str] = Field(
        default={}, description="Rows with other values than these are no forward passes."
    )

    @model_validator(mode="after")
    def _log_is_whole(self) -> "RecordsSource":
        others = {name: info for name, info in type(self).model_fields.items() if name != "source"}
        described = any(getattr(self, name) != info.default for name, info in others.items())
        if self.source in ("score", "online") and not described:
            return self
        missing = [name for name in _NEEDED if getattr(self, name) is None]
        if missing:
            raise Wrong(*(Fault(name, None, "missing", f"add {_NEEDED[name]}") for name in missing))
        return self

    @property
    def brought_by(self) -> Source:
        """Where the records of a day come from."""
        return self.source or "import"  # without a source the section must describe a log

    @property
    def log(self) -> Log | None:
        """The log that is described; None where none is."""
        if self.path is None:
            return None
        return Log(**{name: getattr(self, name) for name in Log._fields})


# What a log must be described by, and what is added where it is missing.
_NEEDED = {
    "path": "where the log is",
    "instance_id": "the column of the ids",
    "event_time": "the column of when the model was asked",
    "model_version": '{ column = "..." }, or { value = "..." } for one model alone',
    "prediction": '{ column = "...", kind = "..." }',
}
