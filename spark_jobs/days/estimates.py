"""How many rows refreshes will draw: what their budgets come to, day after day."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import date
from math import ceil, sqrt

from schemas.errors import ConfigurationError
from schemas.manifests import Decided, Manifest
from schemas.sections.budget import Budget, parse_budget
from spark_jobs.days.chance import drawn_by_chance
from spark_jobs.days.outlook import Outlook, Reading, outlook
from spark_jobs.refresh.affordable import by_speed, carried_by, rows_paid
from spark_jobs.refresh.forward_passes import counted_by, predecessor
from spark_jobs.refresh.plan import RefreshPlan, refresh_id, window_start
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.policies import configured
from spark_jobs.storage.warehouse import Warehouse


@dataclass(frozen=True)
class Estimate:
    """Of a refresh: its candidates, the rows that it draws, and how far these may be off, where the
    design leaves their number to chance. rows: None where it cannot be told."""

    candidates: int
    rows: int | None
    give_or_take: int = 0
    refused: bool = False  # by the share of records that cannot be used


@dataclass
class _Before:
    """What there is before: the refreshes of the policy that are made; or the one that is to come,
    with what it counts; and what the last of them left of its budget."""

    made: Sequence[Manifest] = ()
    ds: date | None = None  # of one that is to come
    answered: Set[date] = field(default_factory=frozenset)
    carried: float = 0.0


def estimate_of(warehouse: Warehouse, plan: RefreshPlan, decided: Decided) -> Estimate:
    """Of one refresh from the tables as they are."""
    seen = outlook(warehouse.pipeline, warehouse.root, [plan.ds])
    told = _drawn(warehouse, seen, plan.ds, frozenset(), parse_budget(decided.budget))
    if not told.give_or_take:
        return told
    rows = drawn_by_chance(Reading.of(warehouse.pipeline, warehouse.root), plan, decided)
    return replace(told, rows=rows, give_or_take=0)


def estimates(
    warehouse: Warehouse,
    seen: Outlook,
    wanted: Sequence[date],
    scored: Set[date],
    manifests: Sequence[Manifest],
    *,
    force: bool,
) -> Iterator[tuple[date, Estimate]]:
    """Of the days one after the other, each after what the days before leave, if each is selected.

    seen: of the days. scored: days of which every instance gets an answer when they are reached.
    force: what is there is made anew.
    """
    pipeline, budget = warehouse.pipeline, _budget(warehouse)
    mine = [one for one in manifests if one.policy == pipeline.selection.policy]
    before = _Before()
    for ds in wanted:
        earlier = predecessor(mine, ds)
        if before.ds is None or (earlier is not None and earlier.ds >= before.ds):
            before = _Before(mine, carried=carried_by(earlier))
        there = next((one for one in mine if one.refresh_id == refresh_id(pipeline, ds)), None)
        answered = frozenset(day for day in scored if day <= ds)
        if there is not None and not force:
            yield ds, Estimate(there.counts.candidates, there.counts.drawn)
            continue
        own, left = budget, 0.0
        if own is not None and own.unit == "per forward pass":
            paid = _forward_passes(warehouse, seen, ds, answered, before)
            rows, left = rows_paid(own.amount, paid, before.carried, pipeline.training.passes)
            own = Budget(rows, "rows")
        told = _drawn(warehouse, seen, ds, answered, own)
        yield ds, told
        if told.rows != 0:
            before = _Before(ds=ds, answered=answered, carried=left)


def _budget(warehouse: Warehouse) -> Budget | None:
    """GPU hours as rows; None where no run has measured its speed."""
    budget = parse_budget(warehouse.pipeline.selection.budget)
    if budget.unit != "gpu hours":
        return budget
    try:
        return by_speed(warehouse, budget)
    except ConfigurationError:
        return None


def _forward_passes(
    warehouse: Warehouse, seen: Outlook, ds: date, answered: Set[date], before: _Before
) -> int:
    """Instances that will have a record in the window of a day and had none in that before."""
    first = window_start(warehouse.pipeline, ds)
    if before.ds is not None:
        return seen.recorded(ds, answered) - seen.recorded(before.ds, before.answered, first)
    version = warehouse.version("forward_records")
    name = refresh_id(warehouse.pipeline, ds)
    now = counted_by(warehouse, name, first, ds, version, before.made)
    return now + seen.recorded(ds, answered) - seen.recorded(ds, frozenset())


def _drawn(
    warehouse: Warehouse, seen: Outlook, ds: date, answered: Set[date], budget: Budget | None
) -> Estimate:
    count = seen.candidates(ds, answered)
    if not count or budget is None:
        return Estimate(count, 0 if not count else None)
    refused = seen.refused(ds, answered)
    rows = 0 if refused or not budget.amount else budget.rows(count)
    return Estimate(count, rows, _spread(warehouse, rows, count), refused)


def _spread(warehouse: Warehouse, rows: int, count: int) -> int:
    """Two standard deviations, at most, of the number of rows that a design draws."""
    if DESIGNS[configured(warehouse.pipeline).design].fixed_size:
        return 0
    return ceil(2 * sqrt(rows * (1 - rows / count)))
