"""What comes after a bootstrap: where the first records come from, and the commands to get there.

A record is left by a model that answers, so there is none of the days that the first model learnt
from: the first refreshes choose among the days after them alone (docs/cold-start.md).
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple


class Advice(NamedTuple):
    """What to know, in sentences, and what to run, command by command."""

    told: str
    warns: bool  # whether nothing can be selected yet
    commands: list[str]


def advice(
    where: str,
    learnt: tuple[date, date],
    refresh_id: str,
    instances: Mapping[date, int],
    window_days: int,
    today: date,
) -> Advice:
    """After a bootstrap of the days `learnt`.

    where: the options that name pipeline and warehouse. instances: of each event date. today: the
    UTC day that is not over.
    """
    first, last = learnt
    train = f"tenforward train {where} --refresh {refresh_id}"
    later = {day: count for day, count in instances.items() if last < day < today and count}
    after = last + timedelta(days=1)
    if later:
        told = (
            f"records come from the days after {last}: {sum(later.values()):,} instances of"
            f" {len(later)} days are there to be answered; the first refreshes choose among these"
            " alone, and a day whose labels have not matured is passed over"
        )
        loop = f"tenforward backfill {where} --start {after} --end {max(later)}"
        return Advice(told, False, [train, loop])
    days = (last - first).days + 1
    told = (
        f"records come from the days after {last}, and there is no instance of those yet: until"
        " such days are scored and their labels have matured, no refresh has anything to choose"
        " from"
    )
    if days > 1:
        kept = last - timedelta(days=min(window_days, days // 2))
        again = f"tenforward bootstrap {where} --start {first} --end {kept}"
        told += f". Remedy: leave the last days to be answered, by a bootstrap to {kept}"
        return Advice(told, True, [again])
    told += f". Remedy: train, ingest {after}, then score and select it"
    return Advice(told, True, [train])


def coverage_line(days: Sequence[Mapping[str, Any]], drawn: int, candidates: int) -> str | None:
    """Why a refresh had far fewer candidates than its window has instances; None where it had not.

    days: as the report's `coverage` has them.
    """
    asked, recorded = (sum(one[name] for one in days) for name in ("instances", "recorded"))
    learnt = [one for one in days if one["bootstrapped"]]
    if not learnt or 2 * recorded >= asked:
        return None
    rows = sum(one["instances"] for one in learnt)
    return (
        f"drew {drawn:,} of {candidates:,} candidates: of the window's {asked:,} instances"
        f" {recorded:,} have a record; {rows:,} are of the {len(learnt)} days that the first model"
        " learnt from, before any model answered, and are none. Each day that is scored adds its"
        " own (docs/cold-start.md)"
    )
