"""Coverage: which days have too few records for their instances, or too few labels for those."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from schemas.sections.section import parse_duration

RELATIVE = 0.5  # of what a later day has, where no label coverage is asked for

Day = Mapping[str, Any]  # day, instances, recorded, records, labelled, bootstrapped


class Short(NamedTuple):
    """A day that has less than it should: how many, of how many."""

    day: str
    have: int
    of: int

    def __str__(self) -> str:
        """The day in words."""
        return f"{self.day}: {self.have:,} of {self.of:,}"


def share(have: int, of: int) -> float:
    """The share, 1 of nothing."""
    return have / of if of else 1.0


def without_record(days: Sequence[Day], limits: Mapping[str, Any]) -> list[Short]:
    """The days on which fewer instances have a record than `coverage` asks for; those that the
    first model learnt from are passed over."""
    return [
        Short(one["day"], one["recorded"], one["instances"])
        for one in days
        if not one["bootstrapped"] and share(one["recorded"], one["instances"]) < limits["coverage"]
    ]


def without_label(days: Sequence[Day], limits: Mapping[str, Any], ds: date) -> list[Short]:
    """The days whose records lack labels at the end of `ds`: fewer have one than `label_coverage`
    asks for, once the day is `label_delay` old; where that is not said, fewer than half as many as
    of a later day."""
    least, later, short = limits["label_coverage"], 0.0, []
    for one in sorted(days, key=lambda day: str(day["day"]), reverse=True):
        if not one["records"]:
            continue
        have = share(one["labelled"], one["records"])
        is_short = have < RELATIVE * later if least is None else have < least
        if is_short and (least is None or _is_old(one["day"], limits["label_delay"], ds)):
            short.append(Short(one["day"], one["labelled"], one["records"]))
        later = max(later, have)
    return short[::-1]


def _is_old(day: str, delay: str | None, ds: date) -> bool:
    return delay is None or ds - date.fromisoformat(day) >= parse_duration(delay)
