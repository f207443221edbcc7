"""What every section of a pipeline file is built from: strict models, names and durations."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from schemas.sections.fault import Fault, Wrong

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DURATION = re.compile(r"([0-9]+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# A century: before the first event of most tables there are fewer years than that until 1677, where
# the nanoseconds of pandas begin; and what is meant to last for ever can be left out.
LONGEST = timedelta(days=36_525)


def identifier(name: str) -> str:
    """A name; ValueError else: they reach SQL and paths, so they are lower-case words alone."""
    if not _IDENTIFIER.fullmatch(name):
        raise Wrong(
            Fault(
                "",
                name,
                "not a name",
                "use a lower-case letter, then letters, digits or _, at most 63 in all",
            )
        )
    return name


def parse_duration(text: str) -> timedelta:
    """`"90m"`, `"6h"` or `"28d"` as a timedelta; ValueError for anything else, and for more than a
    century."""
    match = _DURATION.fullmatch(text)
    if match is None or match[1].strip("0") == "":
        remedy = 'write a whole number above 0 and a unit, like "90m", "6h" or "28d"'
        raise Wrong(Fault("", text, "not a duration", remedy))
    try:
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    except (OverflowError, ValueError):  # beyond Python's dates, or its longest numbers
        duration = timedelta.max
    if duration > LONGEST:
        remedy = f'write at most "{LONGEST.days}d", a century'
        raise Wrong(Fault("", text, "reaches beyond the calendar", remedy))
    return duration


def _duration(text: str) -> str:
    parse_duration(text)
    return text


Identifier = Annotated[str, AfterValidator(identifier)]
Duration = Annotated[str, AfterValidator(_duration)]


class Section(BaseModel):
    """A part of the file: unknown fields and values of another type are refused, a whole number
    for a number with a point apart; values are fixed once loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
