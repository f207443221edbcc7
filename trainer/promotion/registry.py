"""Runs and model versions in MLflow: what was trained from what, and which model serves.

A model version is created with the gate's outcome among its tags, in one transaction; then the
alias moves; then the tag `promoted` says so. A run killed in between is finished by the next one.
The tag `rolled_back` stands on a version that was found bad while it served: it never serves again
but by name.
"""

import logging
import re
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError, TenforwardError
from schemas.lock import exclusive
from schemas.places import state_folder
from schemas.registry import (
    CHAMPION,
    PROMOTED,
    ROLLED_BACK,
    artifact_location,
    bundle_folder,
    champion_version,
    has_model,
    mlflow_client,
    tracking_uri,
)
from trainer.promotion.datasets import datasets_of
from trainer.promotion.record import GIVEN, Record

if TYPE_CHECKING:  # `mlflow_client` imports it, with its settings made first
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Registry:
    """The models of one name, in the warehouse's MLflow."""

    client: "MlflowClient"
    warehouse: str
    pipeline: str
    name: str

    def champion(self) -> "ModelVersion | None":
        """The version that serves."""
        return champion_version(self.client, self.name)

    def versions(self) -> "list[ModelVersion]":
        """Every version of the model."""
        return list(self.client.search_model_versions(f"name = '{self.name}'"))

    def version(self, number: str, option: str) -> "ModelVersion":
        """One of them, which an option of the command line names. Raises ConfigurationError."""
        known = {str(one.version): one for one in self.versions()}
        if number not in known:
            raise ConfigurationError(
                f"{option} {number}: model {self.name} has no such version. Remedy: choose one of"
                f" {', '.join(sorted(known, key=int)) or 'none'}."
            )
        return known[number]

    def folder(self, version: "ModelVersion") -> Path:
        """The bundle of a version."""
        return bundle_folder(self.client, version)

    def trained(self, refresh_id: str, sample_digest: str) -> "ModelVersion | None":
        """The newest version that `train` made of this very sample, if any."""
        found = self._tagged(refresh_id=refresh_id, sample_digest=sample_digest)
        return _newest(one for one in found if GIVEN not in one.tags)

    def given(self, refresh_id: str, digest: str) -> "ModelVersion | None":
        """The version that `register` made of a file of that SHA-256 for this refresh, if any."""
        return _newest(self._tagged(refresh_id=refresh_id, given=digest))

    def _tagged(self, **wanted: str) -> "list[ModelVersion]":
        tags = " and ".join(f"tags.{key} = '{value}'" for key, value in wanted.items())
        return list(self.client.search_model_versions(f"name = '{self.name}' and {tags}"))

    def register(self, record: Record, write_bundle: Callable[[Path], None]) -> "ModelVersion":
        """Log a run with its bundle, create the version, and promote it if its gate passed."""
        with _alone(self.warehouse):
            place = artifact_location(self.warehouse)
            experiment = _experiment(self.client, self.pipeline, place)
            _ensure_model(self.client, self.name)
        run = self.client.create_run(
            experiment, start_time=record.started_ms, run_name=record.refresh_id, tags=record.tags()
        )
        run_id = run.info.run_id
        try:
            self.client.log_batch(run_id, metrics=record.metric_entities(), params=record.params())
            behind = datasets_of(self.warehouse, record.versions, record.sample_digest)
            self.client.log_inputs(run_id, behind)
            with tempfile.TemporaryDirectory() as folder:
                write_bundle(Path(folder))
                written = {file.name for file in Path(folder).iterdir()}
                self.client.log_artifacts(run_id, folder, "bundle")
            for file, text in record.reports.items():
                self.client.log_text(run_id, text, f"report/{file}")
            version = self._version(run_id, f"{run.info.artifact_uri}/bundle", record, written)
        except BaseException:  # an interrupt or exit as well: no run may stay "running" for ever
            self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id)
        self.finish_promotion(version)
        return self.client.get_model_version(self.name, str(version.version))

    def _version(
        self, run_id: str, source: str, record: Record, written: set[str]
    ) -> "ModelVersion":
        # MLflow registers a source that does not exist without a word.
        stored = {Path(entry.path).name for entry in self.client.list_artifacts(run_id, "bundle")}
        if not written <= stored:
            raise TenforwardError(f"{source}: stored only {sorted(stored)}. Remedy: repeat.")
        return self.client.create_model_version(
            self.name, source=source, run_id=run_id, tags=record.tags()
        )

    def finish_promotion(self, version: "ModelVersion") -> bool:
        """Move the alias to a version whose gate passed, once; whether it was promoted ever."""
        if PROMOTED in version.tags:
            return True
        champion = self.champion()
        overtaken = champion is not None and int(champion.version) > int(version.version)
        refused = version.tags.get("gate") != "passed" or ROLLED_BACK in version.tags
        if refused or overtaken:
            return False
        self.client.set_registered_model_alias(self.name, CHAMPION, str(version.version))
        self.client.set_model_version_tag(self.name, str(version.version), PROMOTED, "true")
        return True


def _newest(versions: "Iterable[ModelVersion]") -> "ModelVersion | None":
    return max(versions, key=lambda version: int(version.version), default=None)


def require_model_name(name: str) -> None:
    """Refuse a registry name that would be a path, or end a filter of the registry's.

    Raises ConfigurationError.
    """
    if not re.fullmatch(r"\w[\w.@ -]*", name):
        raise ConfigurationError(
            f"--model = {name!r}: not a name. Remedy: use letters, digits, and _ . @ - or a blank"
            " between them."
        )


def open_registry(warehouse: str, pipeline: str, name: str) -> Registry:
    """Connect to the warehouse's MLflow; an embedded database is made where there is none."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # else a line a migration
    with _alone(warehouse):
        client = mlflow_client(warehouse)
        client.search_experiments(max_results=1)  # the first question makes the tables
    return Registry(client, warehouse, pipeline, name)


def _experiment(client: "MlflowClient", pipeline: str, place: str | None) -> str:
    """Id of the pipeline's experiment, made if missing."""
    experiment = client.get_experiment_by_name(pipeline)
    if experiment is not None:
        return str(experiment.experiment_id)
    return str(client.create_experiment(pipeline, artifact_location=place))


def _ensure_model(client: "MlflowClient", name: str) -> None:
    if not has_model(client, name):
        client.create_registered_model(name)


def _alone(warehouse: str) -> AbstractContextManager[None]:
    """Of two processes that make a new SQLite database at once, one would die."""
    if not tracking_uri(warehouse).startswith("sqlite:"):
        return nullcontext()
    return exclusive(state_folder(warehouse) / ".mlflow.lock", wait=True)
