"""Is a job slower beside its baseline than it was? Ratios of some rounds against committed ones.

A job is slower where the median of its ratios lies above the largest committed one by more than the
clock's tolerance. The largest, because what one round did once on a quiet machine is no sign of a
change. 15 % more in CPU, because the median moves less than that even where other work shares the
cores, and a further pass over the records costs more. By the clock other work shows at once, and
only what waits (readers that no longer read ahead, a shuffle on one core) shows nowhere else; that
doubles a time, so there it is 50 %. Faster is the same from the other end.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.cost import Cost

TOLERANCES = {"cpu": 1.15, "wall": 1.5}  # by clock
SLOWER, FASTER, AS_BEFORE, NEW = "slower", "faster: commit the new figures", "as before", "new"


class Ratio(NamedTuple):
    """Seconds of a job over those of its baseline in the same round: median, least and most."""

    median: float
    min: float
    max: float

    def __str__(self) -> str:
        return f"{self.median:.4g} [{self.min:.4g}, {self.max:.4g}]"


class Line(NamedTuple):
    """A job by one clock, now and as committed."""

    benchmark: str
    job: str
    clock: str
    now: Ratio
    committed: Ratio | None

    @property
    def verdict(self) -> str:
        """What to make of it."""
        return verdict(self.now, self.committed, TOLERANCES[self.clock])


def verdict(now: Ratio, committed: Ratio | None, tolerance: float) -> str:
    """SLOWER, FASTER or AS_BEFORE; NEW where nothing is committed."""
    if committed is None:
        return NEW
    if now.median > committed.max * tolerance:
        return SLOWER
    return FASTER if now.median < committed.min / tolerance else AS_BEFORE


def ratio(job: Sequence[Cost], baseline: Sequence[Cost], clock: str) -> Ratio:
    """Over the rounds, in four figures. Both have one cost a round."""
    found = [
        getattr(cost, clock) / getattr(beside, clock)
        for cost, beside in zip(job, baseline, strict=True)
    ]
    return Ratio(*(float(f"{x:.4g}") for x in (statistics.median(found), min(found), max(found))))


def lines(benchmark: str, now: Mapping[str, Any], committed: Mapping[str, Any]) -> Iterator[Line]:
    """One a job and clock. Both arguments are {job: {clock: ratio}}; committed may lack some."""
    for job, clocks in now.items():
        for clock, found in clocks.items():
            before = committed.get(job, {}).get(clock)
            yield Line(benchmark, job, clock, found, before and Ratio(**before))


def table(compared: Sequence[Line]) -> str:
    """A line a job and clock, in columns as wide as they need to be."""
    head = ("benchmark", "job", "clock", "ratio [min, max]", "committed [min, max]", "verdict")
    rows = [head] + [
        (one.benchmark, one.job, one.clock, str(one.now), str(one.committed or "-"), one.verdict)
        for one in compared
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
