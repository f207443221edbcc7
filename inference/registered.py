"""Versions of the registry, the champion or another, each with its bundle in a local folder."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError
from schemas.registry import (
    CHAMPION,
    bundle_folder,
    champion_version,
    mlflow_client,
    registry_exists,
    served_on,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model, the refresh that it learnt from, and its bundle's folder."""

    name: str
    version: str
    refresh_id: str
    folder: Path


def find_champion(name: str, warehouse: str, into: Path | None = None) -> RegisteredVersion | None:
    """The version that serves under `name` (usually the pipeline's), None before the first one.

    The bundle of a local registry is used where it lies; another is downloaded, to the folder
    `into` or a fresh one, which is there until this process ends.
    """
    if not registry_exists(warehouse):
        return None
    client = mlflow_client(warehouse)
    version = champion_version(client, name)
    return None if version is None else _fetch(client, version, into)


def version_bearing(name: str, warehouse: str, alias: str = CHAMPION) -> str | None:
    """Which version of `name` serves, or bears another alias, None where none does; its bundle is
    not touched."""
    if not registry_exists(warehouse):
        return None
    version = champion_version(mlflow_client(warehouse), name, alias)
    return None if version is None else str(version.version)


def serving_version(name: str, warehouse: str) -> str:
    """Which version serves under `name`; its bundle is not touched.

    Raises ConfigurationError where none does any more.
    """
    version = version_bearing(name, warehouse)
    if version is None:
        raise ConfigurationError(
            f"model {name}: no version bears the alias {CHAMPION!r} any more. Remedy: set it in the"
            " registry, or run `tenforward rollback`."
        )
    return version


def alias_version(name: str, alias: str, warehouse: str) -> str:
    """Which version of `name` bears an alias; its bundle is not touched.

    Raises ConfigurationError if there is none.
    """
    version = version_bearing(name, warehouse, alias)
    if version is None:
        raise ConfigurationError(
            f"--alias = {alias!r}: no version of model {name} bears it. Remedy: set the alias in"
            " the registry, or name the version with --model-version."
        )
    return version


def find_served_on(name: str, day: date, warehouse: str) -> RegisteredVersion | None:
    """The version that served when the refresh of a day had been trained on, None where no version
    is as old."""
    if not registry_exists(warehouse):
        return None
    client = mlflow_client(warehouse)
    version = served_on(day, client.search_model_versions(f"name = '{name}'"))
    return None if version is None else _fetch(client, version)


def find_version(name: str, version: str, warehouse: str) -> RegisteredVersion:
    """One version of `name`, whether it serves or not. ConfigurationError if there is none."""
    unknown = (
        f"model {name} version {version}: not in the registry. Remedy: see `tenforward status`."
    )
    if not registry_exists(warehouse):
        raise ConfigurationError(unknown)
    client = mlflow_client(warehouse)
    from mlflow.exceptions import MlflowException

    try:
        return _fetch(client, client.get_model_version(name, version))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise ConfigurationError(unknown) from error
        raise


def _fetch(
    client: "MlflowClient", version: "ModelVersion", into: Path | None = None
) -> RegisteredVersion:
    return RegisteredVersion(
        name=version.name,
        version=str(version.version),
        refresh_id=version.tags.get("refresh_id", ""),
        folder=bundle_folder(client, version, into),
    )
