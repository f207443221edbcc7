"""Whether the goal of the study is reached: numbers, and words."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.study.comparison import Comparison
from benchmarks.study.estimate import Share
from benchmarks.study.parts import AMOUNT, PARTS, SHARE, judged_arm

DATA = {  # what those of each part that judges are called
    "confirmation": "the confirmation data",
    "second": "the data of the second confirmation",
}


class Goal(NamedTuple):
    """What the goal asks of a part's arm, on the data sets of that part."""

    part: str
    pooled: Share | None  # None: no gap, or the arm did not run on every data set
    absent: tuple[str, ...]  # data sets without results of the arm at the goal's amount
    worse: tuple[str, ...]  # "data set at amount" where it is worse than uniform

    @property
    def reached(self) -> bool:
        """Both halves of it, on all data sets."""
        closed = self.pooled is not None and self.pooled.lower >= SHARE
        return closed and not self.absent and not self.worse


def goal(comparisons: Sequence[Comparison], part: str) -> Goal:
    """The goal judged by the tables of a part, one an amount."""
    judged = judged_arm(part)
    own = [one for one in comparisons if one.part == part]
    there = {
        name for one in own if one.amount == AMOUNT for arm, name in one.cells if arm == judged
    }
    pooled = [one.pooled.get(judged) for one in own if one.amount == AMOUNT]
    worse = [
        f"{name} at {one.amount:g}"
        for one in own
        for (arm, name), cell in one.cells.items()
        if arm == judged and cell.worse
    ]
    absent = tuple(name for name in PARTS[part] if name not in there)
    return Goal(part, pooled[0] if pooled else None, absent, tuple(worse))


def goal_words(found: Goal) -> str:
    """The verdict as a paragraph."""
    asked = (
        f"The goal asks that at {AMOUNT:g} backward passes for each forward pass"
        f" `{judged_arm(found.part)}` closes at least {100 * SHARE:.0f} % of the gap from uniform"
        f" to all rows once, with 95 % confidence, on {DATA[found.part]} together, and is nowhere"
        " worse than uniform after the correction."
    )
    if found.pooled is None:
        closed = "The share cannot be told: there is no gap on the data together"
        closed += ", or runs are missing." if found.absent else "."
    else:
        share, lower = found.pooled
        closed = (
            f"It closes {_percent(share.value)} [{_percent(share.low)}, {_percent(share.high)}],"
            f" and with 95 % confidence at least {_percent(lower)}."
        )
    missing = f" It has no whole results on {', '.join(found.absent)}." if found.absent else ""
    worse = (
        f"It is worse than uniform on {', '.join(found.worse)}."
        if found.worse
        else "It is nowhere worse than uniform after the correction, at the amounts that were run."
    )
    verdict = "reached" if found.reached else "not reached"
    return f"**The goal is {verdict}.** {asked} {closed}{missing} {worse}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
