"""What a training leaves in its run: settings, metrics, reports, origin, and the gate's verdict."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.manifests import REPORT_CARDS
from schemas.pipeline import Pipeline
from schemas.places import filesystem, size_of, within
from trainer.data.refresh import Refresh
from trainer.promotion.assess import Assessment
from trainer.promotion.gate import Verdict

if TYPE_CHECKING:  # `mlflow_client` imports it, with its settings made first
    from mlflow.entities import Metric, Param


GIVEN = "given"  # the tag of a version that was trained elsewhere: SHA-256 of its file
TAG_LENGTH = 1000  # characters that a tag may have in every registry


@dataclass(frozen=True)
class Record:
    """What is kept of one training: settings, metrics, reports, origin, the gate's verdict."""

    refresh_id: str
    ds: str
    sample_digest: str
    parent_version: str | None
    verdict: Verdict
    settings: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, float]]
    ledger: Mapping[str, int]  # forward and backward passes
    series: Mapping[str, list[float]]  # a value an epoch, by metric
    reports: Mapping[str, str]  # text by file name
    started_ms: int
    versions: Mapping[str, int] = field(default_factory=dict)  # of every table behind it
    started: str | None = None  # what the training started from, in words
    given: str | None = None  # SHA-256 of the file of a model that was trained elsewhere

    def tags(self) -> dict[str, str]:
        """The tags of the run and of the version."""
        return {
            "refresh_id": self.refresh_id,
            "ds": self.ds,
            "sample_digest": self.sample_digest,
            "parent_version": self.parent_version or "none",
            **({"started": self.started[:TAG_LENGTH]} if self.started else {}),
            **({GIVEN: self.given} if self.given else {}),
            "gate": "passed" if self.verdict.passed else "failed",
            "gate_reason": self.verdict.reason,
            **{f"ledger.{name}": str(count) for name, count in self.ledger.items()},
        }

    def params(self) -> "list[Param]":
        """The settings as MLflow keeps them."""
        from mlflow.entities import Param

        return [Param(key, str(value)) for key, value in self.settings.items()]

    def metric_entities(self) -> "list[Metric]":
        """Metrics as `challenger.loss`; those of each epoch under one key."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        ends = [
            Metric(f"{of}.{name}", value, now, 0)
            for of, metrics in {**self.metrics, "ledger": self.ledger}.items()
            for name, value in metrics.items()
        ]
        return ends + [
            Metric(name, value, now, epoch)
            for name, values in self.series.items()
            for epoch, value in enumerate(values, 1)
        ]


def settings_of(pipeline: Pipeline, refresh: Refresh) -> dict[str, Any]:
    """What decided a training, for the run's parameters."""
    origin = {"policy": refresh.policy, "ds": refresh.ds, "rows": refresh.drawn}
    own = {f"model.{name}": value for name, value in pipeline.model.resolved().items()}
    model = {"model": pipeline.model.name} | own
    return pipeline.training.model_dump() | model | origin


def reports_of(warehouse: str, refresh_id: str, sets: dict[str, Assessment]) -> dict[str, str]:
    """Files for the run: what the gate saw, and the refresh's report card where it is at hand."""
    seen = {name: assessment.as_dict() for name, assessment in sets.items()}
    reports = {"evaluation.json": json.dumps(seen, indent=1)}
    card = within(warehouse, f"{REPORT_CARDS}/{refresh_id}.html")
    if size_of(card) is not None:
        store, path = filesystem(card)
        with store.open_input_stream(path) as file:
            reports["report_card.html"] = file.read().decode()
    return reports
