"""The registry's client: where MLflow keeps runs and models, and which version serves."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from schemas import embedded
from schemas.bundle import CARD, PROGRAM, WEIGHTS
from schemas.errors import ConfigurationError, ConflictError
from schemas.faults import fault_of
from schemas.places import as_uri, is_remote, within

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


CHAMPION = "champion"  # the alias of the version that serves

# MLflow's own, where the environment does not say otherwise.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # A server that does not answer is told within about a minute; of its own accord MLflow would
    # wait for 4 minutes where nobody listens, and for 20 where somebody listens and says nothing.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}

# Tags of a version; what counts is whether they are there.
PROMOTED = "promoted"  # it served, or serves
ROLLED_BACK = "rolled_back"  # `rollback` took it out of service
PROMOTED_OVER = "promoted_over"  # the newer version that served before it, if one did


def tracking_uri(warehouse: str) -> str:
    """Where MLflow keeps runs and models: $MLFLOW_TRACKING_URI, else SQLite in the warehouse."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{_local_root(warehouse) / 'mlflow.db'}"


def artifact_location(warehouse: str) -> str | None:
    """Where bundles are stored; None leaves it to the tracking server."""
    if tracking_uri(warehouse).startswith("sqlite:"):
        return as_uri(within(warehouse, embedded.FOLDER))
    return None


def _local_root(warehouse: str) -> Path:
    if is_remote(warehouse):
        raise ConfigurationError(
            f"--warehouse {warehouse}: an embedded MLflow database needs a local folder."
            " Remedy: set MLFLOW_TRACKING_URI to your tracking server, or to a database."
        )
    return Path(warehouse).resolve()


def mlflow_client(warehouse: str) -> "MlflowClient":
    """A client of the registry. The import is here because it takes 2 to 8 s.

    An embedded registry is brought along where its warehouse was copied or moved.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    uri, own = tracking_uri(warehouse), within(warehouse, "mlflow.db")
    if uri == f"sqlite:///{own}" and Path(own).exists():
        embedded.bring_along(Path(own), as_uri(within(warehouse, embedded.FOLDER)))
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def registry_exists(warehouse: str) -> bool:
    """False while the embedded database has not been made; asking MLflow would make it."""
    uri = tracking_uri(warehouse)
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def champion_version(
    client: "MlflowClient", name: str, alias: str = CHAMPION
) -> "ModelVersion | None":
    """The registry's entry of the model that serves under `name`, or of another alias, if any."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # The model, or the alias, has never been set.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def served_on(day: date, versions: "Iterable[ModelVersion]") -> "ModelVersion | None":
    """The version that served when the refresh of a day had been trained on.

    Days are those of the refreshes, in the tag `ds`: a backfill trains many in one hour. What was
    rolled back does not count, since it was found bad. Of one day's versions the newest counts, as
    it is the last word on that day. None where no version is as old.
    """
    served = [
        (version.tags["ds"], int(version.version), version)
        for version in versions
        if PROMOTED in version.tags and ROLLED_BACK not in version.tags and "ds" in version.tags
    ]
    old = [one for one in served if date.fromisoformat(one[0]) <= day]
    return max(old, key=lambda one: one[:2])[2] if old else None


def has_model(client: "MlflowClient", name: str) -> bool:
    """Whether the registry has a model of the name."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def bundle_folder(
    client: "MlflowClient", version: "ModelVersion", into: Path | None = None
) -> Path:
    """The local folder of a version's bundle; a remote one is downloaded, to the folder `into` or a
    fresh one, which is there until this process ends."""
    from mlflow.artifacts import download_artifacts

    wanted = [PROGRAM, CARD, WEIGHTS]
    local = _is_local(version.source)
    if into is None and not local:
        into = _folder_of_this_process()
    try:
        folder = Path(
            download_artifacts(
                artifact_uri=version.source,
                dst_path=None if local else str(into),
                tracking_uri=client.tracking_uri,
            )
        )
        missing = [name for name in wanted if not (folder / name).is_file()]
    except OSError as error:  # also where the whole folder is gone
        if isinstance(fault_of(error), ConflictError):
            raise
        missing = wanted
    if missing:
        raise ConfigurationError(
            f"model {version.name} version {version.version}: {', '.join(missing)} not found in"
            f" {version.source}. Remedy: move the alias {CHAMPION!r} to a version that is whole."
        )
    return folder


def _folder_of_this_process() -> Path:
    """A fresh temporary folder, removed when this process ends. MLflow's own stay for ever."""
    folder, process = tempfile.mkdtemp(prefix="tenforward-bundle-"), os.getpid()

    def remove() -> None:
        if os.getpid() == process:  # a fork that ends must not take it from its parent
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)


def _is_local(source: str | None) -> bool:
    return (source or "").startswith(("file:", "/"))
