"""What every section of a pipeline file is built from: strict models, names and durations."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DURATION = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _identifier(name: str) -> str:
    """Names reach SQL and paths, so they are lower-case words and nothing else."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError("use a lower-case letter, then letters, digits or _, at most 63 in all")
    return name


def parse_duration(text: str) -> timedelta:
    """`"90m"`, `"6h"` or `"28d"` as a timedelta; ValueError for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None or match[1].strip("0") == "":
        raise ValueError('write a whole number above 0 and a unit, like "90m", "6h" or "28d"')
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _duration(text: str) -> str:
    parse_duration(text)
    return text


Identifier = Annotated[str, AfterValidator(_identifier)]
Duration = Annotated[str, AfterValidator(_duration)]


class Section(BaseModel):
    """A part of the file: unknown fields are refused, values are fixed once loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)
