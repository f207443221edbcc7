"""The sections that describe the user's tables: instances, labels, feature views and features."""

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from schemas.bounds import LARGEST
from schemas.columns import Column, ColumnType
from schemas.sections.fault import Fault, Wrong
from schemas.sections.placed import ColumnName, Placed, left_out
from schemas.sections.section import Duration, Identifier, Section

MAX_TENSOR = 1 << 20  # numbers in a row's tensor
WEIGHTS = ("float64", "float32", "int32", "int64")  # types of a row's own weight


class ColumnSpec(Section):
    """One column of the user's own."""

    type: ColumnType = Field(
        description="What it holds; `tenforward describe` says it in Spark's words."
    )
    doc: str = Field(
        default="A column of the pipeline.", description="Its meaning, as the table's comment."
    )
    column: ColumnName | None = left_out("Its name in a table that is named by path or table.")

    def as_column(self, name: str) -> Column:
        """The column as the tables define it; user columns may be null."""
        return Column(name, self.type, self.doc, nullable=True)


class Columns(Placed):
    """A set of user columns, in a table of the warehouse or in one that exists elsewhere."""

    columns: dict[Identifier, ColumnSpec]

    def as_columns(self) -> tuple[Column, ...]:
        """The columns in the order of the file."""
        return tuple(spec.as_column(name) for name, spec in self.columns.items())


class Instances(Columns):
    """`[instances]`: entity keys and features logged at serving time."""

    segments: list[Identifier] = Field(
        default=[], max_length=4, description="Low-cardinality columns recorded as segment keys."
    )
    instance_id: ColumnName | None = left_out("The ids' column, of a table elsewhere.")
    event_time: ColumnName | None = left_out("The column of when the model was asked, there.")
    event_date: ColumnName | None = left_out(
        "A column with the UTC date of the event time, to read by; derived from it if absent."
    )

    @model_validator(mode="after")
    def _segments_are_strings(self) -> "Instances":
        faults = []
        for place, name in enumerate(self.segments):
            if name in self.segments[:place]:
                faults.append(Fault("segments", name, f"{name!r} stands twice", "name it once"))
            elif name not in self.columns or self.columns[name].type != "string":
                problem = f"no string column {name!r} in [instances.columns]"
                strings = [one for one, spec in self.columns.items() if spec.type == "string"]
                remedy = f"add it, or use {' or '.join(strings)}" if strings else "add it"
                faults.append(Fault("segments", name, problem, remedy))
        if faults:
            raise Wrong(*faults)
        return self


class Labels(Columns):
    """`[labels]`: the columns of the label table, which of them the model predicts, and when.

    `maturity` says from when on a label counts, seen from the cut of a refresh:
    `arrival`: as soon as it is known. `delay`: when the event is `after` old, so that labels that
    come quickly do not count for more. `window`, for attribution: the same, and an instance
    without any label by then is a negative.
    """

    label: Identifier = Field(description="The column that the model predicts.")
    classes: int | None = Field(
        default=None, ge=2, le=1 << 20, description="Of a multiclass task; counted where absent."
    )
    maturity: Literal["arrival", "delay", "window"] = Field(
        default="arrival", description="From when on a label counts."
    )
    after: Duration | None = Field(
        default=None, description="The age of an event at which it does."
    )
    weight: Identifier | None = Field(
        default=None,
        description="The column of what a row counts for, at least 0; none: every row counts 1.",
    )
    instance_id: ColumnName | None = left_out("The ids' column, of a table elsewhere.")
    known_at: ColumnName | None = left_out("The column of when a label became known, there.")
    known_at_commit: bool | None = left_out(
        "In its place: when the Delta commit was made that brought the row."
    )
    known_after: Duration | None = left_out("In its place: so long after the event.")
    event_date: ColumnName | None = left_out(
        "A column with the UTC date of the event; derived from the event's time if absent."
    )
    event_time: ColumnName | None = left_out(
        "A column of the event's time; that of the instance if neither is there."
    )

    @property
    def known_as(self) -> dict[str, str]:
        """What selection reads of a label, by its own name for it: the column of each."""
        return {"label": self.label} | ({"row_weight": self.weight} if self.weight else {})

    @model_validator(mode="after")
    def _known_once(self) -> "Labels":
        told = {n: getattr(self, n) for n in ("known_at", "known_at_commit", "known_after")}
        given = [name for name, value in told.items() if value not in (None, False)]
        if len(given) > 1:
            problem = f"said by {given[0]} as well: when a label became known has one answer"
            raise Wrong(Fault(given[1], told[given[1]], problem, "write one of the two"))
        if self.known_at_commit and self.format == "parquet":
            remedy = "use known_at or known_after"
            raise Wrong(Fault("known_at_commit", True, "Parquet has no commits", remedy))
        return self

    @model_validator(mode="after")
    def _after_fits(self) -> "Labels":
        if (self.after is None) != (self.maturity == "arrival"):
            problem = f"{self.after!r} with maturity = {self.maturity!r}"
            remedy = "give it with 'delay' and with 'window', and only there"
            raise Wrong(Fault("after", self.after, problem, remedy))
        return self

    @model_validator(mode="after")
    def _label_exists(self) -> "Labels":
        if self.label not in self.columns:
            known = ", ".join(self.columns) or "none"
            problem = f"no column {self.label!r} in [labels.columns]; it has {known}"
            raise Wrong(Fault("label", self.label, problem, "add it there, or name another"))
        return self

    @model_validator(mode="after")
    def _weight_fits(self) -> "Labels":
        name = self.weight
        if name is None:
            return self
        problem, remedy = None, "name a numeric column, or leave it out"
        if name == self.label:
            problem, remedy = f"{name!r} is the label itself", "name another column"
        elif name not in self.columns:
            numeric = [one for one, spec in self.columns.items() if spec.type in WEIGHTS]
            others = ", ".join(one for one in numeric if one != self.label) or "none"
            problem = f"no column {name!r} in [labels.columns]; of numbers it has {others}"
            remedy = "add it there, or name another"
        elif (kind := self.columns[name].type) not in WEIGHTS:
            problem = f"a {kind} column cannot be a weight"
        elif self.maturity == "window":
            problem = "with maturity = 'window' an instance without a label is one, and has none"
            remedy = "write such negatives into the table labels, with maturity = 'delay'"
        if problem is not None:
            raise Wrong(Fault("weight", name, problem, remedy))
        return self


class FeatureView(Columns):
    """`[[feature_views]]`, in Feast's words.

    A row counts for an instance when its entity keys match, when both its timestamp and its
    created timestamp are at or before the instance's event time, and when its timestamp is no
    older than `ttl`; of several such rows the newest timestamp wins.
    """

    name: Identifier = Field(description="The table is features/NAME.")
    description: str = Field(default="A feature view.", description="The table's comment.")
    entity: list[Identifier] = Field(
        min_length=1, description="Its key: columns of the instances, strings."
    )
    timestamp_field: Identifier = Field(
        default="event_timestamp", description="The column of when the values held."
    )
    created_timestamp_column: Identifier = Field(
        default="created", description="The column of when they became known."
    )
    ttl: Duration | None = Field(
        default=None,
        description="The age from which on a row no longer counts; none: it always does.",
    )
    names: dict[Identifier, ColumnName] | None = left_out(
        "Of entity keys and timestamps, their names in a table elsewhere, where they differ."
    )

    @model_validator(mode="after")
    def _names_are_of_keys(self) -> "FeatureView":
        known = [*self.entity, self.timestamp_field, self.created_timestamp_column]
        for name, column in (self.names or {}).items():
            if name not in known:
                problem = f"{name!r} is neither a key nor a timestamp of the view"
                remedy = f"use one of {', '.join(known)}; of a column, write column = in its line"
                raise Wrong(Fault(f"names.{name}", column, problem, remedy))
        return self


def _source(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", text):
        remedy = 'write it as "weather.temp", or leave it out for a column of the instances'
        raise Wrong(Fault("", text, "neither VIEW.COLUMN nor instances.COLUMN", remedy))
    return text


class Feature(Section):
    """One input of the model: where it is read and how it becomes a number.

    `category`: a code in 0 ... buckets - 1: 0 for null, else 1 + the hash (strings) or the value
    (integers) modulo buckets - 1. `number`: float32, `default` where null, missing or not finite.
    `tensor`: a `floats` column of as many numbers as `shape` has, such as an image
    (channels, height, width), row by row; `default` for a missing one and for what is not finite.
    """

    kind: Literal["category", "number", "tensor"] = Field(description="How it becomes a number.")
    source: Annotated[str, AfterValidator(_source)] | None = Field(
        default=None, description="VIEW.COLUMN; without one, the instances' column of its name."
    )
    buckets: int = Field(default=256, ge=2, le=1 << 20, description="Codes of a category.")
    default: float = Field(
        default=0.0, ge=-LARGEST, le=LARGEST, description="In place of a missing number."
    )
    shape: Annotated[tuple[int, ...], Field(strict=False)] | None = Field(
        default=None, description="Of a tensor, a row's part."
    )

    @property
    def size(self) -> int:
        """How many numbers a tensor has."""
        return math.prod(self.shape or ())

    @model_validator(mode="after")
    def _shape_fits(self) -> "Feature":
        if (self.shape is None) == (self.kind == "tensor"):
            problem, remedy = f"{self.shape} of a {self.kind}", "give it to tensors alone"
            raise Wrong(Fault("shape", self.shape, problem, remedy))
        if self.shape is not None and not (
            1 <= len(self.shape) <= 4 and min(self.shape) >= 1 and self.size <= MAX_TENSOR
        ):
            problem, remedy = f"{self.shape}", f"use 1 to 4 sizes, {MAX_TENSOR} numbers in all"
            raise Wrong(Fault("shape", self.shape, problem, remedy))
        return self
