"""The configuration of one pipeline: a TOML file, validated on load.

Every error names the file, the field, the value and the remedy, and exits with code 2.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, model_validator

from schemas.errors import ConfigurationError
from schemas.sections.budget import parse_budget
from schemas.sections.check import DataCheck
from schemas.sections.fault import Fault, Wrong
from schemas.sections.gate import Gate
from schemas.sections.maintenance import Maintenance
from schemas.sections.model import Model
from schemas.sections.model import Task as Task
from schemas.sections.monitor import Monitor
from schemas.sections.records import Log, RecordsSource, Source
from schemas.sections.schedule import Schedule
from schemas.sections.section import Identifier, Section
from schemas.sections.selection import Selection
from schemas.sections.store import Feature, FeatureView, Instances, Labels
from schemas.sections.training import Training
from schemas.validation.reading import SECTIONS_ALONE, read_file
from schemas.validation.rules import RULES


class Pipeline(Section):
    """One pipeline file."""

    name: Identifier = Field(description="Of the pipeline, its model and its DAGs.")
    task: Task = Field(description="What the label is.")
    source: Identifier | None = Field(
        default=None, description="Where `ingest` reads; without one the tables are filled by you."
    )
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
    check: DataCheck = DataCheck()
    monitor: Monitor = Monitor()

    @model_validator(mode="after")
    def _rules_hold(self, info: ValidationInfo) -> "Pipeline":
        if info.context == SECTIONS_ALONE:
            return self
        faults = [fault for rule in RULES for fault in rule(self)]
        if faults:
            raise Wrong(*faults)
        return self

    def feature_source(self, name: str) -> tuple[str, str]:
        """(table, column) that feature `name` is read from: `instances` or a view's name."""
        table, column = (self.features[name].source or f"instances.{name}").split(".")
        return table, column

    @property
    def records_from(self) -> Source:
        """Where the forward records of a day come from."""
        return "score" if self.records is None else self.records.brought_by

    @property
    def log(self) -> Log | None:
        """Somebody else's log, where `[records]` describes one."""
        return None if self.records is None else self.records.log

    def selection_digest(self) -> str:
        """SHA-256 of all that decides a sample, apart from the tables' contents and the date."""
        return hashlib.sha256(self.selection_config().encode()).hexdigest()

    def selection_config(self) -> str:
        """What decides a sample, as canonical JSON: what comes after it is left out."""
        after = {"model", "training", "gate", "source", "records", "maintenance", "schedule"}
        decides = self.model_dump(exclude=after | {"check", "monitor"})
        if self.labels.weight is None:  # so that files without one are what they were
            del decides["labels"]["weight"]
        if parse_budget(self.selection.budget).of_passes:
            # Such a budget comes to other rows where each is used another number of times.
            decides["training"] = {"passes": self.training.passes}
        return json.dumps(decides, sort_keys=True, separators=(",", ":"))


def load_pipeline(path: str | Path, overrides: dict[str, Any] | None = None) -> Pipeline:
    """Read and validate a pipeline file.

    `overrides` maps dotted fields to values of the command line (`{"selection.budget": 0.2}`);
    entries whose value is None are left alone. Raises ConfigurationError with every fault.
    """
    read = read_file(Path(path), Pipeline, overrides)
    if read.faults or read.pipeline is None:
        raise refused(path, read.faults)
    return read.pipeline


def refused(path: str | Path, faults: Sequence[Fault]) -> ConfigurationError:
    """What a command is ended with: a line a fault."""
    return ConfigurationError(
        "\n".join(told(path, faults)), faults=[fault.as_dict() for fault in faults]
    )


def told(path: str | Path, faults: Sequence[Fault]) -> list[str]:
    """A line a fault. Those of the file name it; those of the command line have an option."""
    return [str(f) if f.field.startswith("--") else f"{path}: {f}" for f in faults]
