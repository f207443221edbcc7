"""A budget: how many rows training can afford, in rows or in what rows cost."""

import re
from dataclasses import dataclass
from numbers import Real

import numpy as np

from schemas.errors import ConfigurationError

# A share may have an exponent: Python writes 0.00005 as 5e-05.
_FORMS = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(?: (rows|gpu hours|per forward pass)|[eE]-\d+)?")
FORMS = (
    '0.1 (a share of the candidates), "0.1 per forward pass" (backward passes), "5000 rows" or'
    ' "0.5 gpu hours"'
)
_NEEDS = {
    "gpu hours": "the speed of earlier training runs",
    "per forward pass": "a warehouse, whose records are the forward passes",
}


@dataclass(frozen=True)
class Budget:
    """An amount and its unit."""

    amount: float
    unit: str  # share, rows, gpu hours or per forward pass

    def __str__(self) -> str:
        """As `parse_budget` reads it."""
        amount = np.format_float_positional(self.amount, trim="-")
        return amount if self.unit == "share" else f"{amount} {self.unit}"

    @property
    def of_passes(self) -> bool:
        """Whether the rows that it comes to depend on how often each goes through a step."""
        return self.unit in _NEEDS

    def rows(self, count: int) -> int:
        """k for `count` candidates: at least one row, at most all.

        Raises ConfigurationError for GPU hours and for backward passes, which are turned into rows
        first (`spark_jobs.refresh.affordable`).
        """
        if self.of_passes:
            raise ConfigurationError(
                f'budget = "{self}": needs {_NEEDS[self.unit]}. Remedy: give a share or a number of'
                " rows here."
            )
        wanted = self.amount * count if self.unit == "share" else self.amount
        return min(count, max(1, round(wanted)))

    def within(self, share: float) -> "Budget":
        """What it comes to among a share of the candidates that stands for all of them."""
        if self.unit != "rows" or share == 1.0:
            return self
        return Budget(max(1, round(self.amount * share)), "rows")

    def in_rows(self, rows_per_second: float, passes: int) -> "Budget":
        """GPU hours as the rows that so many passes over each fit into; other units as they are."""
        if self.unit != "gpu hours":
            return self
        return Budget(max(1, int(self.amount * 3600 * rows_per_second / passes)), "rows")


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
