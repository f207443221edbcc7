"""The configuration of one pipeline: a TOML file, validated on load.

Every error names the file, the field, the value and the remedy, and exits with code 2.
"""

import hashlib
import json
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from schemas.errors import ConfigurationError
from schemas.sections.budget import parse_budget
from schemas.sections.check import DATED, Check
from schemas.sections.faults import explain
from schemas.sections.gate import Gate
from schemas.sections.maintenance import Maintenance
from schemas.sections.model import Model
from schemas.sections.model import Task as Task
from schemas.sections.records import KINDS, RecordsSource
from schemas.sections.schedule import Schedule
from schemas.sections.section import Identifier, Section, parse_duration
from schemas.sections.selection import Selection
from schemas.sections.store import Feature, FeatureView, Instances, Labels
from schemas.sections.training import Training


class Pipeline(Section):
    """One pipeline file."""

    name: Identifier
    task: Task
    source: Identifier | None = None
    holdout: float = Field(default=0.05, gt=0, lt=0.5, description="Share of ids never drawn.")
    instances: Instances
    labels: Labels
    feature_views: list[FeatureView] = Field(default=[])
    features: dict[Identifier, Feature] = Field(min_length=1)
    records: RecordsSource | None = None
    selection: Selection = Selection()
    model: Model = Model()
    training: Training = Training()
    gate: Gate = Gate()
    maintenance: Maintenance = Maintenance()
    schedule: Schedule = Schedule()
    check: Check = Check()

    @model_validator(mode="after")
    def _features_exist(self) -> "Pipeline":
        known = {"instances": self.instances} | {view.name: view for view in self.feature_views}
        for name, feature in self.features.items():
            table, column = self.feature_source(name)
            if table not in known or column not in known[table].columns:
                raise ValueError(f"features.{name}: nothing to read at {table}.{column}")
            kind = known[table].columns[column].type
            if feature.kind == "number" and kind in ("string", "strings", "date"):
                raise ValueError(f"features.{name}: a {kind} column cannot be a number")
            if feature.kind == "category" and kind not in ("string", "int32", "int64"):
                raise ValueError(f"features.{name}: a {kind} column cannot be a category")
            if (feature.kind == "tensor") != (kind == "floats"):
                raise ValueError(f"features.{name}: a {kind} column cannot be a {feature.kind}")
        return self

    @model_validator(mode="after")
    def _model_fits(self) -> "Pipeline":
        self.model.require_task(self.task)
        images = [f for f in self.features.values() if len(f.shape or ()) == 3]
        if self.model.name == "convolutional" and len(images) != 1:
            raise ValueError(
                f"model.name: 'convolutional' needs one tensor feature of shape (channels, height,"
                f" width), the file has {len(images)}"
            )
        if self.labels.classes is not None and self.task != "multiclass":
            raise ValueError(f"labels.classes: only of a multiclass task, not {self.task}")
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
    def _gate_can_judge(self) -> "Pipeline":
        if self.gate.max_calibration_gap is not None and self.task == "regression":
            raise ValueError("gate.max_calibration_gap: a regression predicts no probabilities")
        if self.gate.max_segment_loss_increase is not None and not self.instances.segments:
            raise ValueError("gate.max_segment_loss_increase: instances.segments names no segment")
        return self

    @model_validator(mode="after")
    def _forward_days_fit(self) -> "Pipeline":
        forward, window = self.selection.forward_days, self.selection.window_days
        if forward >= window:
            raise ValueError(
                f"selection.forward_days: {forward} of selection.window_days = {window} leave no"
                " day to draw from"
            )
        if self.training.pulls and not (forward and self.training.warm_start):
            raise ValueError(
                "training.pulls: to choose by forward rows, selection.forward_days must be at least"
                " 1 and training.warm_start true"
            )
        return self

    @model_validator(mode="after")
    def _labels_mature(self) -> "Pipeline":
        if self.labels.maturity == "window" and self.task != "binary":
            raise ValueError(f"labels.maturity: 'window' needs a binary task, not {self.task}")
        window, after = self.selection.window_days, self.labels.after
        if after is not None and parse_duration(after) >= timedelta(days=window):
            raise ValueError(
                f"labels.after: no record of selection.window_days = {window} is {after} old"
            )
        return self

    @model_validator(mode="after")
    def _log_fits(self) -> "Pipeline":
        if self.records is None:
            return self
        kinds, kind = KINDS[self.task], self.records.prediction.kind
        if kind not in kinds:
            raise ValueError(
                f"records.prediction.kind: {kind!r} is not what a {self.task} task records; use"
                f" {' or '.join(kinds)}"
            )
        mapped, declared = len(self.records.segments), len(self.instances.segments)
        if mapped != declared:
            raise ValueError(
                f"records.segments: {mapped} columns for the {declared} of instances.segments"
            )
        return self

    @model_validator(mode="after")
    def _windows_are_kept(self) -> "Pipeline":
        window = self.selection.window_days
        for name, kept in self.maintenance.keep.model_dump().items():
            if kept is not None and parse_duration(kept).days <= window:
                raise ValueError(
                    f"maintenance.keep.{name}: {kept!r} would take rows out of the window of"
                    f" selection.window_days = {window}"
                )
        return self

    @model_validator(mode="after")
    def _checked_tables_exist(self) -> "Pipeline":
        known = [*DATED, *(view.name for view in self.feature_views)]
        for name in self.check.freshness:
            if name not in known:
                raise ValueError(f"check.freshness.{name}: no such table; use {', '.join(known)}")
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
        """What decides a sample, as canonical JSON: what comes after it is left out."""
        after = {"model", "training", "gate", "source", "records", "maintenance", "schedule"}
        decides = self.model_dump(exclude=after | {"check"})
        if parse_budget(self.selection.budget).of_passes:
            # Such a budget comes to other rows where each is used another number of times.
            decides["training"] = {"passes": self.training.passes}
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
        raise ConfigurationError(explain(path, error)) from error


def _set(data: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
    data[keys[-1]] = value
