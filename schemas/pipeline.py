"""The configuration of one pipeline: a TOML file, validated on load.

Every error names the file, the field, the value and the remedy, and exits with code 2.
"""

import difflib
import hashlib
import json
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.budget import FORMS, parse_budget
from schemas.columns import Column, ColumnType
from schemas.errors import ConfigurationError

Task = Literal["binary", "multiclass", "regression"]

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DURATION = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _identifier(name: str) -> str:
    """Names reach SQL and paths, so they are lower-case words and nothing else."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError("use a lower-case letter, then letters, digits or _, at most 63 in all")
    return name


def parse_duration(text: str) -> timedelta:
    """`"90m"`, `"6h"` or `"28d"` as a timedelta; ValueError for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None or match[1].strip("0") == "":
        raise ValueError('write a whole number above 0 and a unit, like "90m", "6h" or "28d"')
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _duration(text: str) -> str:
    parse_duration(text)
    return text


Identifier = Annotated[str, AfterValidator(_identifier)]
Duration = Annotated[str, AfterValidator(_duration)]


class Section(BaseModel):
    """A part of the file: unknown fields are refused, values are fixed once loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnSpec(Section):
    """One column of the user's own."""

    type: ColumnType
    doc: str = "A column of the pipeline."

    def as_column(self, name: str) -> Column:
        """The column as the tables define it; user columns may be null."""
        return Column(name, self.type, self.doc, nullable=True)


class Columns(Section):
    """A set of user columns."""

    columns: dict[Identifier, ColumnSpec]

    def as_columns(self) -> tuple[Column, ...]:
        """The columns in the order of the file."""
        return tuple(spec.as_column(name) for name, spec in self.columns.items())


class Instances(Columns):
    """`[instances]`: entity keys and features logged at serving time."""

    segments: list[Identifier] = Field(
        default=[], max_length=4, description="Low-cardinality columns recorded as segment keys."
    )

    @model_validator(mode="after")
    def _segments_are_strings(self) -> "Instances":
        for name in self.segments:
            if name not in self.columns or self.columns[name].type != "string":
                raise ValueError(f"segments: no string column {name!r} in [instances.columns]")
        return self


class Labels(Columns):
    """`[labels]`: the columns of the label table, and which of them the model predicts."""

    label: Identifier

    @model_validator(mode="after")
    def _label_exists(self) -> "Labels":
        if self.label not in self.columns:
            known = ", ".join(self.columns)
            raise ValueError(f"label: no column {self.label!r} in [labels.columns]; it has {known}")
        return self


class FeatureView(Columns):
    """`[[feature_views]]`, in Feast's words.

    A row counts for an instance when its entity keys match, when both its timestamp and its
    created timestamp are at or before the instance's event time, and when its timestamp is no
    older than `ttl`; of several such rows the newest timestamp wins.
    """

    name: Identifier
    description: str = "A feature view."
    entity: Annotated[list[Identifier], Field(min_length=1)]
    timestamp_field: Identifier = "event_timestamp"
    created_timestamp_column: Identifier = "created"
    ttl: Duration | None = None


class Feature(Section):
    """One input of the model: where it is read and how it becomes a number.

    `category`: a code in 0 ... buckets - 1: 0 for null, else 1 + the hash (strings) or the value
    (integers) modulo buckets - 1. `number`: float32, `default` where null, missing or not finite.
    """

    kind: Literal["category", "number"]
    source: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
    buckets: int = Field(default=256, ge=2, le=1 << 20)
    default: float = Field(default=0.0, ge=-1e30, le=1e30)


def _budget(value: float | str) -> float | str:
    try:
        parse_budget(value)
    except ConfigurationError as error:
        raise ValueError(f"not a budget; write {FORMS}") from error
    return value


class StrataSpec(Section):
    """`[selection.strata]`: a guaranteed number of drawn rows for each level of a segment key."""

    segment: Identifier
    min_count: int = Field(default=0, ge=0)
    min_share: float = Field(default=0.0, ge=0, le=1, description="Of the budget, each level.")


class Selection(Section):
    """`[selection]`: which policy, over which window, with what budget.

    A policy names a score, a design and a weighting; each of them can be changed here.
    """

    policy: str = "calibrated"
    budget: Annotated[float | str, AfterValidator(_budget)] = 0.1
    window_days: int = Field(default=28, ge=1, le=3660)
    seed: int = Field(default=1, ge=1, lt=1 << 53)
    score: str | None = None
    design: str | None = None
    weighting: str | None = None
    floor: float | None = Field(default=None, ge=0, le=1)
    calibrated: bool | None = None
    ridge: float | None = Field(default=None, ge=0, le=1e6)
    bounds: tuple[float, float] | None = Field(default=None, description="Of the multipliers.")
    beta: float | None = Field(default=None, gt=0, le=100, description="Of the score loss-rank.")
    strata: StrataSpec | None = None
    unmatured: Literal["wait", "expected-score", "down-weight"] = "wait"
    unmatured_label: float = Field(default=0.0, ge=-1e30, le=1e30)
    unmatured_weight: float = Field(default=0.5, gt=0, le=1)
    max_reject_share: float = Field(default=0.01, ge=0, le=1)
    files: int = Field(default=4, ge=1, le=4096, description="Parquet files of a sample.")

    @property
    def provisional_label(self) -> float | None:
        """The label that stands in until one matures; None where such records wait."""
        return None if self.unmatured == "wait" else self.unmatured_label


class Training(Section):
    """`[training]`: the model and how it is fitted."""

    hidden: Annotated[list[int], Field(min_length=1, max_length=8)] = [64, 32]
    epochs: int = Field(default=8, ge=1, le=10_000)
    batch_size: int = Field(default=256, ge=1, le=1 << 20)
    learning_rate: float = Field(default=3e-3, gt=0, le=10)
    weight_decay: float = Field(default=1e-4, ge=0, le=10)
    pull: float = Field(
        default=0.0, ge=0, le=1e6, description="L2-SP: how hard the parent's weights pull."
    )
    warm_start: bool = True
    seed: int = Field(default=1, ge=1, lt=1 << 31)


class Gate(Section):
    """`[gate]`: when a challenger becomes the champion, on the same held-out rows."""

    max_loss_increase: float = Field(
        default=0.0, ge=0, le=10, description="How much worse the challenger's loss may be."
    )
    min_rows: int = Field(default=100, ge=1, description="Held-out rows below which none passes.")


class Pipeline(Section):
    """One pipeline file."""

    name: Identifier
    task: Task
    source: Identifier | None = None
    holdout: float = Field(default=0.05, gt=0, lt=0.5, description="Share of ids never drawn.")
    instances: Instances
    labels: Labels
    feature_views: list[FeatureView] = []
    features: dict[Identifier, Feature] = Field(min_length=1)
    selection: Selection = Selection()
    training: Training = Training()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _features_exist(self) -> "Pipeline":
        known = {"instances": self.instances} | {view.name: view for view in self.feature_views}
        for name, feature in self.features.items():
            table, column = self.feature_source(name)
            if table not in known or column not in known[table].columns:
                raise ValueError(f"features.{name}: nothing to read at {table}.{column}")
            kind = known[table].columns[column].type
            if feature.kind == "number" and kind in ("string", "strings", "floats", "date"):
                raise ValueError(f"features.{name}: a {kind} column cannot be a number")
            if feature.kind == "category" and kind not in ("string", "int32", "int64"):
                raise ValueError(f"features.{name}: a {kind} column cannot be a category")
        return self

    @model_validator(mode="after")
    def _strata_are_segments(self) -> "Pipeline":
        strata = self.selection.strata
        if strata is not None and strata.segment not in self.instances.segments:
            known = ", ".join(self.instances.segments) or "none"
            raise ValueError(
                f"selection.strata.segment: {strata.segment!r} is not in instances.segments, which"
                f" has {known}"
            )
        return self

    @model_validator(mode="after")
    def _views_fit(self) -> "Pipeline":
        for view in self.feature_views:
            if view.name == "instances":
                raise ValueError("feature_views: the name 'instances' is taken by the table")
            for key in view.entity:
                if key not in self.instances.columns:
                    raise ValueError(
                        f"feature_views.{view.name}.entity: no column {key!r} in"
                        " [instances.columns]"
                    )
        return self

    def feature_source(self, name: str) -> tuple[str, str]:
        """(table, column) that feature `name` is read from: `instances` or a view's name."""
        table, column = (self.features[name].source or f"instances.{name}").split(".")
        return table, column

    def selection_digest(self) -> str:
        """SHA-256 of all that decides a sample, apart from the tables' contents and the date."""
        return hashlib.sha256(self.selection_config().encode()).hexdigest()

    def selection_config(self) -> str:
        """What decides a sample, as canonical JSON: everything but training and the gate."""
        decides = self.model_dump(exclude={"training", "gate", "source"})
        return json.dumps(decides, sort_keys=True, separators=(",", ":"))


def load_pipeline(path: str | Path, overrides: dict[str, Any] | None = None) -> Pipeline:
    """Read and validate a pipeline file.

    `overrides` maps dotted fields to values of the command line (`{"selection.budget": 0.2}`);
    entries whose value is None are left alone. Raises ConfigurationError.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}. Remedy: name a pipeline file with --pipeline."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{path}: not valid TOML: {error}. Remedy: mend it there."
        ) from error
    for field, value in (overrides or {}).items():
        if value is not None:
            _set(data, field.split("."), value)
    try:
        return Pipeline.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(_explain(path, error)) from error


def _set(data: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
    data[keys[-1]] = value


def _explain(path: Path, error: ValidationError) -> str:
    """One line a fault: file, field, value, what is wrong and what to do."""
    lines = []
    for fault in error.errors():
        field = ".".join(str(part) for part in fault["loc"]) or "the file"
        match fault["type"]:
            case "missing":
                lines.append(f"{path}: {field} is missing. Remedy: add it.")
            case "extra_forbidden":
                near = difflib.get_close_matches(str(fault["loc"][-1]), _known_fields(), n=1)
                hint = f"write {near[0]!r}" if near else "remove it"
                lines.append(f"{path}: {field} is not a known field. Remedy: {hint}.")
            case _:
                value = json.dumps(fault["input"], default=str)
                shown = value if len(value) <= 80 else value[:77] + "..."
                message = fault["msg"].removeprefix("Value error, ")
                lines.append(
                    f"{path}: {field} = {shown}: {message}. Remedy: change {field} in the file,"
                    " or the option of the command line that sets it."
                )
    return "\n".join(lines)


def _known_fields() -> list[str]:
    """Every field name of every section, for suggestions."""
    sections: list[type[Section]] = [*Section.__subclasses__(), *Columns.__subclasses__()]
    return sorted({name for section in sections for name in section.model_fields})
