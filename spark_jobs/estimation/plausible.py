"""Whether rows can have been drawn with the probabilities that stand beside them."""

import math

import numpy as np

from schemas.errors import DataQualityError
from spark_jobs.selection.arrays import Array

IMPOSSIBLE = 1e-12


def require_plausible(columns: dict[str, Array], probability: Array, drawn: Array) -> None:
    """Refuse drawn rows whose totals over pi are too far from what is known of all rows.

    Columns out of step, a draw by another rule, or rows that were left out afterwards look so.
    columns: of all rows (N,), by what they are called. By Bernstein's inequality, which holds for
    Poisson sampling with any values; other designs spread less. Raises DataQualityError.
    """
    for name, column in columns.items():
        expanded = column / probability
        gap = float(expanded[drawn].sum() - column.sum())
        variance = float(((1 - probability) * probability * expanded**2).sum())
        reach = float((np.maximum(1 - probability, probability) * np.abs(expanded)).max(initial=0))
        slack = 1e-9 * float(np.abs(expanded[drawn]).sum() + np.abs(column).sum())
        if abs(gap) <= slack:
            continue
        bound = -(gap**2) / 2 / (variance + reach * abs(gap) / 3)
        if bound < math.log(IMPOSSIBLE / 2):
            raise DataQualityError(
                f"drawn: {name} of the drawn rows over their probabilities is {gap:+.6g} away from"
                f" the {column.sum():.6g} of all rows, which no draw with these probabilities makes"
                " likely (below 1e-12). Remedy: give every candidate, drawn or not, each with the"
                " probability that it was drawn with, in one order for all columns."
            )
