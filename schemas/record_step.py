"""The record step as it travels from selection to the trainer, in a refresh's report."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from schemas.errors import DataQualityError

NAME = "record_step"  # in the report


@dataclass(frozen=True)
class RecordStep:
    """A whole step of Newton's method for the last layer of a model, from the records that it left.

    version: the model's. rows: the records. gain: what the whole step is expected to take from the
    mean loss of these rows. move: what to add to the outputs, a line for the intercept and one for
    each number of the sketch, (1 + width) x outputs.
    """

    version: str
    rows: int
    gain: float
    move: list[list[float]]

    def told(self) -> dict[str, Any]:
        """For the report."""
        return {NAME: asdict(self)}


def step_in(report: Mapping[str, Any], refresh_id: str) -> RecordStep | None:
    """The step that a refresh's report has, if any; raises DataQualityError for one that no
    selection wrote."""
    if NAME not in report:
        return None
    try:
        step = RecordStep(**report[NAME])
        sound = all(math.isfinite(number) for line in step.move for number in line)
    except TypeError:
        sound = False
    if not sound:
        raise DataQualityError(
            f"refresh {refresh_id}: {NAME} = {str(report[NAME])[:60]!r} in its report is damaged."
            " Remedy: select the day again with --force."
        )
    return step
