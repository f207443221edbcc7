"""Whose warehouse it is, and of which format: every table names both.

Format 1 is the first. Tables without one are older: they are read and written as they are, and
`tenforward init` brings them up to it. Those of a later format are refused.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError
from schemas.sections.fault import Fault

if TYPE_CHECKING:
    from deltalake import DeltaTable as Snapshot

FIELD = "--warehouse"
OWNER = "tenforward.pipeline"  # the table property that names the pipeline
FORMAT_OF = "tenforward.format"  # the table property that names the format
FORMAT = 1  # of what this release writes


def of_another(owner: str, pipeline: str, warehouse: str) -> Fault:
    """What is wrong with a warehouse of another pipeline."""
    problem = (
        f"holds pipeline {owner!r}, not {pipeline!r} (where that is its name of before,"
        f" `tenforward migrate --from {owner}` takes it along)"
    )
    return Fault(FIELD, warehouse, problem, "give each pipeline a warehouse of its own")


def later_format(properties: Mapping[str, str | None], warehouse: str) -> Fault | None:
    """What is wrong with a table of a format that is not known here; None where nothing is."""
    found = properties.get(FORMAT_OF) or "0"
    if found.isdecimal() and int(found) <= FORMAT:
        return None
    problem = f"holds tables of format {found}, and this release knows up to {FORMAT}"
    return Fault(FIELD, warehouse, problem, "use the release of tenforward that wrote it, or later")


def require_format(snapshot: "Snapshot", warehouse: str) -> None:
    """Refuse a table that a later release has made. Raises ConfigurationError."""
    fault = later_format(snapshot.metadata().configuration, warehouse)
    if fault is not None:
        raise ConfigurationError(str(fault))


def require_owner(snapshot: "Snapshot", pipeline: str, warehouse: str) -> None:
    """Refuse a table of another pipeline, or of a later format; one that names none is anybody's.

    Raises ConfigurationError.
    """
    require_format(snapshot, warehouse)
    owner = snapshot.metadata().configuration.get(OWNER, pipeline)
    if owner != pipeline:
        raise ConfigurationError(str(of_another(owner, pipeline, warehouse)))
