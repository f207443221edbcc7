"""Means over all rows of a table of which some were drawn, in notebooks and by the command."""

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigurationError
from spark_jobs.estimation.asked import (
    drawing,
    require_columns,
    require_exact,
    stands_for,
    values_of,
)
from spark_jobs.estimation.auxiliaries import auxiliaries
from spark_jobs.estimation.frame import as_given
from spark_jobs.estimation.plausible import require_plausible
from spark_jobs.estimation.regression import Estimated, fitted, mean_of, ratio_of
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.given import table_of

ROWS_A_COLUMN = 10  # drawn rows that a group needs for each of its auxiliary columns
FEW = 10  # drawn rows on which an interval rests: below, it is said


class Line(NamedTuple):
    """What is estimated of one group of rows."""

    group: Any
    rows: int
    drawn: int
    found: Estimated | None  # None where no drawn row says anything


def estimate(
    table: Any,
    value: str,
    auxiliary: Sequence[str] | str = (),
    by: str | None = None,
    confidence: float = 0.95,
    over: str | None = None,
) -> pa.Table:
    """The mean of a value over all rows, where it is known of the drawn ones alone.

    table: what `draw` returned, every candidate, with further columns; a pyarrow.Table or a pandas
    DataFrame. value: a column of numbers or booleans, known of each drawn row, not looked at
    elsewhere. auxiliary: columns known of every row (numbers, booleans, strings, lists of these),
    or `a*b` for the products of two; the better they predict the value, the narrower the interval.
    by: a column, for a mean of each of its groups. over: a second column like `value`, for the
    ratio of both totals. Where the table has a column `propensity`, the chance with which a row
    came to be there (null for 1), each stands for 1 / propensity rows, and the mean is of those;
    how far these are by chance from all that could have been there, no interval here tells.

    Weights are 1 / probability calibrated on the auxiliaries, never the column weight
    (`regression.py` has the estimator, `interval.py` the ends; docs/estimate.md).
    Returns a row a group: group, rows, drawn, estimate, standard_error, low, high; null where too
    few rows were drawn to say. Warns where an interval rests on fewer than ten rows and where a
    group bears fewer auxiliaries. Raises ConfigurationError for columns that are missing and draws
    that promise no probabilities, DataQualityError for values that cannot be, NoDataError.
    """
    given = table_of(table)
    auxiliary = [auxiliary] if isinstance(auxiliary, str) else auxiliary
    kind = given[by].type if by in given.schema.names else pa.string()
    found = lines(known_of(given, auxiliary), value, by, confidence, over)
    names = ("value", "standard_error", "low", "high")
    numbers = {
        name.replace("value", "estimate"): pa.array(
            [None if line.found is None else _finite(line.found, name) for line in found],
            pa.float64(),
        )
        for name in names
    }
    return pa.table(
        {
            "group": pa.array([line.group for line in found], kind),
            "rows": pa.array([line.rows for line in found], pa.int64()),
            "drawn": pa.array([line.drawn for line in found], pa.int64()),
            **numbers,
        }
    )


def _finite(found: Estimated, name: str) -> float | None:
    number = float(getattr(found, name))
    return number if math.isfinite(number) else None


class Known(NamedTuple):
    """A table with what is known of every row, ready for the estimates of several values."""

    table: pa.Table
    columns: dict[str, Array]  # of each auxiliary (N, p)
    probability: Array  # (N,)
    drawn: Array  # (N,)
    each: Array | None  # how many rows each stands for (N,); None: one


def known_of(table: pa.Table, auxiliary: Sequence[str]) -> Known:
    """The auxiliaries of a table of which some rows were drawn. Raises as `estimate` does."""
    require_columns(table, [part for name in auxiliary for part in name.split("*")])
    require_exact(table.schema)
    probability, drawn = drawing(table)
    columns = auxiliaries(table, auxiliary, drawn)
    require_plausible(_totals(table, columns), probability, drawn)
    return Known(table, columns, probability, drawn, stands_for(table))


def lines(
    known: Known, value: str, by: str | None, confidence: float, over: str | None = None
) -> list[Line]:
    """`estimate`, a line a group, with what the estimates rest on; sorted by group."""
    if not 0 < confidence < 1:
        raise ConfigurationError(
            f"confidence = {confidence}: not between 0 and 1. Remedy: write 0.95, say."
        )
    table, columns, probability, drawn, each = known
    require_columns(table, [value, *([by] if by else []), *([over] if over else [])])
    values = [values_of(table, name, drawn) for name in (value, over) if name]
    found = []
    for group, rows in _groups(table, by):
        told = repr(as_given(value))
        if by is not None:
            told = f"{told} of {as_given(by)} {group!r}"
        one = _one(
            told,
            [one[rows] for one in values],
            {name: one[rows] for name, one in columns.items()},
            None if each is None else each[rows] / each[rows].mean(),
            probability[rows],
            drawn[rows],
            confidence,
        )
        found.append(Line(group, int(rows.sum()), int(drawn[rows].sum()), one))
    return found


def _totals(table: pa.Table, known: dict[str, Array]) -> dict[str, Array]:
    """What is known of all rows (N,), that the drawn rows over pi should come near to."""
    totals = {"the number": np.ones(table.num_rows)}
    if "score" in table.schema.names:
        scores = pc.fill_null(pc.cast(table["score"], pa.float64()), 0.0)
        totals["the sum of score"] = scores.to_numpy()
    for name, columns in known.items():
        for column in columns.T:
            totals[f"the sum of {name}"] = column
    return totals


def _groups(table: pa.Table, by: str | None) -> Iterator[tuple[Any, Array]]:
    """Each group with the mask of its rows (N,); nulls are a group of their own, the last."""
    if by is None:
        yield None, np.ones(table.num_rows, bool)
        return
    column = table[by].combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column, null_encoding="encode")
    code = column.indices.to_numpy(zero_copy_only=False)
    names = column.dictionary.to_pylist()
    for place in sorted(range(len(names)), key=lambda at: (names[at] is None, names[at])):
        yield names[place], code == place


def _one(
    told: str,
    values: list[Array],
    known: dict[str, Array],
    each: Array | None,
    probability: Array,
    drawn: Array,
    confidence: float,
) -> Estimated | None:
    """The mean of the first value over the rows, or its ratio to the second. each (N,), of mean 1:
    how many rows each stands for, where not all for as many."""
    count, rows = int(drawn.sum()), len(drawn)
    if count == 0 or (count == 1 and rows > 1):
        return None
    if each is not None:  # the mean of what each row stands for, of which all totals are known
        values = [value * each for value in values]
        known = {name: one * each[:, None] for name, one in known.items()}
        known = {"1 / propensity": each[:, None]} | known
    columns = _bearable(told, known, probability, count)
    fit = fitted(columns[drawn], probability[drawn], columns.mean(axis=0), rows)
    first, *second = (value[drawn] for value in values)
    if second:
        if not abs(fit.weight @ second[0]) > 0:
            return None
        found = ratio_of(first, second[0], fit, confidence)
    else:
        found = mean_of(first, fit, confidence)
        found = _unseen(found, first, probability, drawn, confidence)
    if 0 < found.rests_on < FEW:
        _warn(
            f"{told}: its interval rests on {found.rests_on:.1f} drawn rows alone, and may hold"
            " the truth less often than it says"
        )
    return found


def _bearable(told: str, known: dict[str, Array], probability: Array, count: int) -> Array:
    """Columns (N, p) that so many drawn rows bear: ones, pi where it varies, and of the auxiliaries
    as many as have ten drawn rows a column, in the order given."""
    design = {"1": np.ones((len(probability), 1))}
    if np.ptp(probability) > 0:
        design["pi"] = probability[:, None]
    kept, left_out, room = [], [], max(count // ROWS_A_COLUMN, 1)
    for name, columns in (design | known).items():
        if columns.shape[1] <= room:
            kept.append(columns)
            room -= columns.shape[1]
        else:
            left_out.append(f"{name} ({columns.shape[1]})")
    if left_out:
        _warn(
            f"{told}: {count} drawn rows bear one auxiliary column for {ROWS_A_COLUMN} of them;"
            f" left out are {', '.join(left_out)}"
        )
    return np.hstack(kept)


def _unseen(
    found: Estimated, value: Array, probability: Array, drawn: Array, confidence: float
) -> Estimated:
    """Where all drawn are 0, or all 1, the others need not be: an end for those.

    M others stay unseen with a chance of at most (1 - least pi)^M; as many as keep that above half
    of what the confidence leaves may be there.
    """
    same = value[0]
    if found.standard_error > 0 or same not in (0.0, 1.0) or (value != same).any() or drawn.all():
        return found
    least = float(probability[~drawn].min())
    others = math.log((1 - confidence) / 2) / math.log1p(-least)
    share = min(others, float((~drawn).sum())) / len(drawn)
    if same == 0.0:
        return found._replace(high=found.high + share)
    return found._replace(low=found.low - share)


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)
