"""What a closed loop of the study runs on: rows with dates, and the days of its refreshes."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from schemas.pipeline import Pipeline

# Where no pipeline file says otherwise: one pass over small batches. Tuning varies the rest.
ONE_PASS: dict[str, Any] = {"epochs": 1, "batch_size": 16}

Part = Literal["development", "confirmation", "second"]


@dataclass(frozen=True)
class Stream:
    """A data set as the loops see it.

    A refresh on day ds: the period that ends with ds, `step` days, has been answered by the model
    that serves; an arm draws from a window that ends with ds, fits, and its new model is judged on
    the `step` days that follow.
    """

    name: str
    part: Part  # data of either confirmation are opened once, after the methods are fixed
    pipeline: Pipeline  # task, features, segments, model and training; settings vary on copies
    # Sorted by instance_id: instance_id (string), event_date (date32), known_at (timestamp of
    # microseconds, UTC; null where no label came), segments (list<string>), the encoded features by
    # their names, label (float32, null where none came).
    rows: pa.Table
    step: int  # days from one refresh to the next
    learnt_days: int  # the first model learns so many days before the first period
    tuning: tuple[date, ...]  # refreshes of a loop by which settings are chosen
    days: tuple[date, ...]  # refreshes of a loop that is reported
    judged: date  # refreshes before this day are run, not reported


def planned(
    name: str,
    part: Part,
    pipeline: Pipeline,
    rows: pa.Table,
    *,
    learnt_days: int,
    tuning: int,
    step: int = 1,
) -> Stream:
    """A stream that is tuned on its first refreshes, so many, and judged on all that follow."""
    first, last = (end(rows["event_date"]).as_py() for end in (pc.min, pc.max))
    days = refreshes(first_refresh(first, learnt_days, step), step, last)
    return Stream(name, part, pipeline, rows, step, learnt_days, days[:tuning], days, days[tuning])


def refreshes(first: date, step: int, last: date) -> tuple[date, ...]:
    """The days from `first` on, `step` apart, whose following period has ended by `last`."""
    count = (last - first).days // step
    return tuple(first + timedelta(days=step * number) for number in range(count))


def first_refresh(first_day: date, learnt_days: int, step: int) -> date:
    """The end of the first period, where the first model learns the days from `first_day` on."""
    return first_day + timedelta(days=learnt_days + step - 1)
