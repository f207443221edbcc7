"""Whose warehouse it is: every table names the pipeline that it was made for."""

from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError
from schemas.sections.fault import Fault

if TYPE_CHECKING:
    from deltalake import DeltaTable as Snapshot

OWNER = "tenforward.pipeline"  # the table property that names it


def of_another(owner: str, pipeline: str, warehouse: str) -> Fault:
    """What is wrong with a warehouse of another pipeline."""
    problem = f"holds pipeline {owner!r}, not {pipeline!r}"
    return Fault("--warehouse", warehouse, problem, "give each pipeline a warehouse of its own")


def require_owner(snapshot: "Snapshot", pipeline: str, warehouse: str) -> None:
    """Refuse a table of another pipeline; one that names none is anybody's.

    Raises ConfigurationError.
    """
    owner = snapshot.metadata().configuration.get(OWNER, pipeline)
    if owner != pipeline:
        raise ConfigurationError(str(of_another(owner, pipeline, warehouse)))
