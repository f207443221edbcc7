"""What the dates of refreshes tell of whether `[schedule]` makes a day due: all of `days`, of
the other conditions nothing. `due` begins with it, and the plan of a backfill foresees by it.
"""

from collections.abc import Iterable, Sequence, Set
from datetime import date
from typing import NamedTuple

from schemas.manifests import Manifest
from schemas.pipeline import Pipeline
from schemas.sections.schedule import Schedule
from spark_jobs.refresh.plan import refresh_id


class Earlier(NamedTuple):
    """The newest refresh of the policy with an earlier date."""

    ds: date
    refresh_id: str


def by_dates(
    schedule: Schedule, ds: date, *, there: bool, last: Earlier | None
) -> tuple[bool | None, str]:
    """Whether a day is due under a schedule with conditions, and why; None: its records decide.

    there: whether the day has its refresh.
    """
    if there:
        return True, "its refresh is there, to be left alone or repeated"
    if last is None:
        return True, "there is no earlier refresh of this policy"
    passed = (ds - last.ds).days
    if schedule.days is not None and passed >= schedule.days:
        return True, f"{passed} days since {last.refresh_id}"
    if not (schedule.by_records or schedule.by_performance):
        return False, f"{passed} of {schedule.days} days have passed"
    return None, "its records decide"


def foresee(
    pipeline: Pipeline, manifests: Iterable[Manifest], wanted: Sequence[date], missed: Set[date]
) -> dict[date, bool | None]:
    """Which of the days are due as they come, each after what the days before have left; None
    where it depends on records.

    wanted: consecutive days. missed: those of them that will not be selected, due or not.
    """
    if not pipeline.schedule.conditional:
        return dict.fromkeys(wanted, True)
    policy = pipeline.selection.policy
    mine = [one for one in manifests if one.policy == policy]
    names, made_on = {one.refresh_id for one in mine}, {one.ds: one.refresh_id for one in mine}
    newest = max((Earlier(ds, made_on[ds]) for ds in made_on if ds < wanted[0]), default=None)
    foreseen: dict[date, bool | None] = {}
    for ds in wanted:
        own = refresh_id(pipeline, ds)
        foreseen[ds], _ = by_dates(pipeline.schedule, ds, there=own in names, last=newest)
        # A day of which the records decide counts as selected here. That puts off the days after it
        # as long as can be: what is due even so is due in any case.
        if ds in made_on or (foreseen[ds] is not False and ds not in missed):
            newest = Earlier(ds, made_on.get(ds, own))
    return foreseen
