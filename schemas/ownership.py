"""Whose warehouse it is: every table names the pipeline that it was made for."""

from deltalake import DeltaTable as Snapshot

from schemas.errors import ConfigurationError

OWNER = "tenforward.pipeline"  # the table property that names it


def require_owner(snapshot: Snapshot, pipeline: str, warehouse: str) -> None:
    """Refuse a table of another pipeline; one that names none is anybody's.

    Raises ConfigurationError.
    """
    owner = snapshot.metadata().configuration.get(OWNER, pipeline)
    if owner != pipeline:
        raise ConfigurationError(
            f"--warehouse = {warehouse}: holds pipeline {owner!r}, not {pipeline!r}."
            " Remedy: give each pipeline a warehouse of its own."
        )
