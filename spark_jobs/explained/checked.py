"""A candidate as its refresh stored it, beside what drawing it again came to."""

import math
from collections.abc import Mapping
from typing import Any

from deltalake.exceptions import DeltaError

from schemas.manifests import Manifest
from schemas.places import within
from schemas.tables import selection_probabilities
from spark_jobs.explained.instance import rows_with
from spark_jobs.explained.pinned import GoneError
from spark_jobs.storage import logs
from spark_jobs.storage.day_files import typed

_TABLE = selection_probabilities()
_COLUMNS = [one.name for one in _TABLE.columns if one.name != "refresh_id"]
_CLOSE = 1e-9  # the last bits of a float64 may differ between processors


def stored_row(manifest: Manifest, warehouse: str, instance_id: str) -> dict[str, Any] | None:
    """The row of an instance in `selection_probabilities`; None where it was no candidate.

    Where the version that the manifest names is gone, the newest has the rows of the refresh too.
    Raises GoneError where none has, because they have expired.
    """
    path = within(warehouse, _TABLE.name)
    for version in dict.fromkeys((manifest.probabilities_version, None)):
        try:
            files = [
                file
                for file in logs.files(path, version)
                if file["partition"]["refresh_id"] == manifest.refresh_id
            ]
            if files:
                return _row(path, files, instance_id)
        except (DeltaError, OSError):  # this version is gone
            continue
    raise GoneError(f"{_TABLE.name} has no rows of it any more")


def differing(stored: Mapping[str, Any], redrawn: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The columns whose values differ, with both."""
    return {
        name: {"stored": stored[name], "recomputed": redrawn[name]}
        for name in _COLUMNS
        if not _same(stored[name], redrawn[name])
    }


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=1e-300)
    return bool(one == other)


def _row(path: str, files: list[dict[str, Any]], instance_id: str) -> dict[str, Any] | None:
    for file in files:
        rows = rows_with(path, file["path"], instance_id, _COLUMNS)
        if rows is not None:
            return {
                name: typed(rows, _TABLE.arrow_schema.field(name))[0].as_py() for name in _COLUMNS
            }
    return None
