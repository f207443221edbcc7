"""The rows of one segment level, all days and versions, from its counts by bin. Pure functions."""

from datetime import date

import numpy as np
import pyarrow as pa

from schemas.side_tables import performance
from spark_jobs.monitoring import moved
from spark_jobs.monitoring.figures import SUMS, figures
from spark_jobs.selection.arrays import Array

ALL = "all"  # segment and level of every record

# What sums by bin decide of a row of `performance`; the others are of the day, or of all levels.
_ELSEWHERE = ("cut", "instances", "recorded", "segment_drift", "sketch_drift")
LEVEL_ROWS = pa.schema(
    [field for field in performance().arrow_schema if field.name not in _ELSEWHERE]
)


def level_rows(binned: pa.Table, task: str, confidence: float, start: date) -> pa.Table:
    """A row of `LEVEL_ROWS` a day and model version, reference days before `start` included.

    binned: `event_date`, `model_version`, `segment`, `level`, `bin` and `figures.SUMS`, of one
    segment and level, one row a day, version and bin.
    """
    rows = binned.sort_by("bin")
    day = np.array(rows["event_date"].to_numpy(), "datetime64[D]")
    version = np.array(rows["model_version"].to_pylist(), object)
    sums = {name: rows[name].to_numpy() for name in SUMS}
    edges, place = np.unique(rows["bin"].to_numpy(), return_inverse=True)
    where = {name: rows[name][0].as_py() for name in ("segment", "level")}

    def counted(mask: Array) -> Array:
        return np.bincount(place[mask], sums["records"][mask], edges.size)

    found = []
    for cell_day, cell_version in sorted(set(zip(day.tolist(), version.tolist(), strict=True))):
        cell = (day == np.datetime64(cell_day)) & (version == cell_version)
        drift = None
        if cell_day >= start:
            drift = moved.predictions(counted(before(day, cell_day)), counted(cell))
        of_cell = figures(task, {name: values[cell] for name, values in sums.items()}, confidence)
        key = {"event_date": cell_day, "model_version": cell_version}
        found.append(key | where | of_cell | {"prediction_drift": drift})
    return pa.Table.from_pylist(found, LEVEL_ROWS)


def before(days: Array, day: date) -> Array:
    """Mask (n,) of the days (n,), datetime64[D], that are in the reference of `day`."""
    mask: Array = (days >= np.datetime64(day - moved.REFERENCE)) & (days < np.datetime64(day))
    return mask
