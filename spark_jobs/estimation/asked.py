"""The columns that an estimate asks for, checked."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import CHANCE
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from spark_jobs.estimation.frame import as_given
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.draw import DRAW


def require_columns(table: pa.Table, names: list[str]) -> None:
    """Refuse a table that lacks one of the columns, has two of one name, or no row."""
    needed = ["probability", "drawn", *names]
    missing = [name for name in needed if name not in table.schema.names]
    if missing:
        raise ConfigurationError(
            f"table lacks the column {', '.join(map(repr, missing))}; it has"
            f" {', '.join(table.schema.names)}. Remedy: add columns to what `draw` returned."
        )
    if len(there := table.schema.names) > len(set(there)):
        name = next(name for name in there if there.count(name) > 1)
        raise ConfigurationError(
            f"table has the column {name!r} {there.count(name)} times. Remedy: give what was added"
            " to what `draw` returned another name."
        )
    if table.num_rows == 0:
        raise NoDataError("table has no row. Remedy: give every candidate, drawn or not.")


def require_exact(schema: pa.Schema) -> None:
    """Refuse what was drawn by a design that promises no probabilities, as `draw` noted it down."""
    noted = (schema.metadata or {}).get(DRAW)
    if noted is None:
        return
    told = json.loads(noted)
    if not told["exact"]:
        raise ConfigurationError(
            f"policy = {told['policy']!r}: its design {told['design']!r} promises no inclusion"
            " probabilities, so nothing can be said of the rows that were not drawn. Remedy: draw"
            ' with policy = "uniform", "calibrated" or another whose design is exact.'
        )


def drawing(table: pa.Table) -> tuple[Array, Array]:
    """Probabilities (N,) and the mask of the drawn rows (N,)."""
    if not pa.types.is_boolean(table["drawn"].type) or table["drawn"].null_count:
        raise DataQualityError(
            f"drawn is {table['drawn'].type} with {table['drawn'].null_count} nulls: it must be"
            " true or false of every row. Remedy: give the column that `draw` returned."
        )
    drawn: Array = table["drawn"].to_numpy()
    if not drawn.any():
        raise NoDataError(
            f"drawn is false in all {len(drawn)} rows. Remedy: draw with a larger budget."
        )
    probability: Array = pc.fill_null(
        pc.cast(table["probability"], pa.float64()), np.nan
    ).to_numpy()
    wrong = ~((probability > 0) & (probability <= 1)) | ((probability == 1) & ~drawn)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise DataQualityError(
            f"probability = {probability[place]} in row {place}"
            f" ({'drawn' if drawn[place] else 'not drawn'}), one of {wrong.sum()} that cannot be:"
            " above 0, at most 1, and 1 only of what is drawn. Remedy: give the column that `draw`"
            " returned, for every row."
        )
    return probability, drawn


def stands_for(table: pa.Table) -> Array | None:
    """How many rows each stands for (N,), 1 / propensity; None where each stands for itself."""
    if "propensity" not in table.schema.names or table["propensity"].null_count == table.num_rows:
        return None
    chance: Array = pc.fill_null(pc.cast(table["propensity"], pa.float64()), 1.0).to_numpy()
    wrong = np.flatnonzero(~((chance >= CHANCE.least) & (chance <= CHANCE.most)))
    if wrong.size:
        raise DataQualityError(
            f"propensity = {chance[wrong[0]]} in row {wrong[0]}, one of {wrong.size} that cannot"
            f" be: from {CHANCE.least:g} to {CHANCE.most:g}, or null for 1. Remedy: give the chance"
            " with which each row came to be there."
        )
    return 1 / chance


def values_of(table: pa.Table, name: str, drawn: Array) -> Array:
    """A value (N,), NaN where not drawn; finite where drawn."""
    kind, told = table[name].type, as_given(name)
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ConfigurationError(
            f"value {told!r} is {kind}: a mean is of numbers or booleans. Remedy: cast it."
        )
    numbers: Array = pc.fill_null(pc.cast(table[name], pa.float64()), np.nan).to_numpy()
    wrong = np.flatnonzero(drawn & ~np.isfinite(numbers))
    if wrong.size:
        raise DataQualityError(
            f"value {told!r} is null or not finite in {wrong.size} of {drawn.sum()} drawn rows,"
            f" first row {wrong[0]}. Remedy: find it for all of them; those that are missing may"
            " differ from the others, and nothing here knows how."
        )
    return np.where(drawn, numbers, np.nan)
