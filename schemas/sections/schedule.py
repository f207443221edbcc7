"""`[schedule]`: when the DAG scores a day, and what must have happened for one to be selected."""

import re
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.bounds import LARGEST, MOST_ROWS
from schemas.sections.fault import Fault, Wrong
from schemas.sections.section import Section

_DAILY = re.compile(r"[0-5]?[0-9] ([01]?[0-9]|2[0-3]) \* \* \*")


def _time_of_day(cron: str) -> str:
    if not _DAILY.fullmatch(cron):
        remedy = 'write a time of day, "MINUTE HOUR * * *" (UTC)'
        raise Wrong(Fault("", cron, "a run is a day", remedy))
    return cron


class Schedule(Section):
    """`[schedule]`: every day is scored; of the conditions the first that is reached makes a
    refresh due. Where none is given, every day has one.

    `max_loss` and `max_calibration_gap` are those of `[monitor]`, on what `tenforward monitor` has
    measured since the last refresh; `monitor.min_rows` holds for them too.
    """

    cron: Annotated[str, AfterValidator(_time_of_day)] = Field(
        default="0 0 * * *", description="When a day is run, UTC."
    )
    end: date | None = Field(default=None, description="The last day that is run by itself.")
    one_session: bool = Field(
        default=False, description="Score and select a day in one task, one Spark session."
    )
    days: int | None = Field(default=None, ge=1, le=3660, description="Since the last refresh.")
    new_records: int | None = Field(
        default=None, ge=1, le=MOST_ROWS, description="Instances whose label has matured since."
    )
    drift: float | None = Field(
        default=None, gt=0, le=100, description="Of their losses: population stability index."
    )

    max_loss: float | None = Field(
        default=None, gt=0, le=LARGEST, description="Mean loss of served records beyond which."
    )
    max_calibration_gap: float | None = Field(
        default=None, gt=0, le=1, description="How far their predicted to observed may be from 1."
    )

    @property
    def conditional(self) -> bool:
        """Whether a day may pass without a refresh."""
        return self.days is not None or self.by_records or self.by_performance

    @property
    def by_records(self) -> bool:
        """Whether newly matured records may make a day due."""
        return (self.new_records, self.drift) != (None, None)

    @property
    def by_performance(self) -> bool:
        """Whether the figures of served records may make a day due."""
        return (self.max_loss, self.max_calibration_gap) != (None, None)
