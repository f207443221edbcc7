"""A budget: how many rows training can afford, as a share, a number of rows, or GPU hours."""

import re
from dataclasses import dataclass
from numbers import Real

import numpy as np

from schemas.errors import ConfigurationError

# A share may have an exponent: Python writes 0.00005 as 5e-05.
_FORMS = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(?: (rows|gpu hours)|[eE]-\d+)?")
FORMS = '0.1 (a share of the candidates), "5000 rows" or "0.5 gpu hours"'


@dataclass(frozen=True)
class Budget:
    """An amount and its unit."""

    amount: float
    unit: str  # share, rows or gpu hours

    def __str__(self) -> str:
        """As `parse_budget` reads it."""
        amount = np.format_float_positional(self.amount, trim="-")
        return amount if self.unit == "share" else f"{amount} {self.unit}"

    def rows(self, count: int) -> int:
        """k for `count` candidates: at least one row, at most all.

        Raises ConfigurationError for GPU hours, which `in_rows` turns into rows first.
        """
        if self.unit == "gpu hours":
            raise ConfigurationError(
                f'budget = "{self.amount:g} gpu hours": needs the speed of earlier training runs.'
                " Remedy: give a share or a number of rows here."
            )
        wanted = self.amount * count if self.unit == "share" else self.amount
        return min(count, max(1, round(wanted)))

    def in_rows(self, rows_per_second: float, epochs: int) -> "Budget":
        """GPU hours as rows that so many epochs over them fit into; other units as they are."""
        if self.unit != "gpu hours":
            return self
        return Budget(max(1, int(self.amount * 3600 * rows_per_second / epochs)), "rows")


def parse_budget(value: float | str) -> Budget:
    """A number is a share above 0 and at most 1; text names its unit. ConfigurationError else."""
    budget = _read(value)
    if (
        budget is None
        or not 0 < budget.amount < np.inf
        or (budget.unit == "share" and budget.amount > 1)
    ):
        raise ConfigurationError(
            f"budget = {value!r}: a share must be above 0 and at most 1. Remedy: write {FORMS}."
        )
    if budget.unit == "rows" and budget.amount != int(budget.amount):
        raise ConfigurationError(f"budget = {value!r}: not a whole number of rows. Remedy: round.")
    return budget


def _read(value: object) -> Budget | None:
    """What a number or a text says, in range or not; None where it says nothing."""
    if not isinstance(value, bool) and isinstance(value, Real):
        return Budget(float(value), "share")
    text = str(value).strip().replace("gpu-hours", "gpu hours")
    match = _FORMS.fullmatch(text)
    if match is None:
        return None
    unit = match[2]
    return Budget(float(match[1]), unit) if unit else Budget(float(text), "share")
