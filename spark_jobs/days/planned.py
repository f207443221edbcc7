"""What a backfill finds and would do, from logs and manifests: no Spark, no data read."""

from collections.abc import Iterator, Mapping, Set
from datetime import date, timedelta
from typing import Any

from deltalake.exceptions import DeltaError

from schemas.manifests import Manifest, read_manifests
from schemas.sections.budget import parse_budget
from spark_jobs.days.answered import answered_days, states
from spark_jobs.days.by_dates import foresee
from spark_jobs.refresh.plan import refresh_id, window_start
from spark_jobs.storage.warehouse import Warehouse

# Tables whose rows of the window decide the candidates. Labels are left out: those that came
# after the cut do not count, so a larger table says nothing.
_INPUTS = ("instances", "forward_records")


def days(start: date, end: date) -> Iterator[date]:
    """Every date from start to end, both included."""
    for number in range((end - start).days + 1):
        yield start + timedelta(days=number)


def plan(
    warehouse: Warehouse, start: date, end: date, *, only: str | None = None
) -> list[dict[str, Any]]:
    """What each day has and lacks, what is stale, whether it is due, and about how many rows it
    would draw.

    only: the one step that will run, where it is one. A day without instances is not scored, and
    then not selected either.
    """
    warehouse.require(*warehouse.tables)
    wanted = list(days(start, end))
    now = {name: warehouse.rows_by_date(name) for name in _INPUTS}
    manifests = read_manifests(warehouse.path("refreshes"), pipeline=warehouse.pipeline.name)
    scored = answered_days(warehouse, wanted, states(warehouse))
    empty = {ds for ds in wanted if not now["instances"].get(ds)}
    missed = set() if only == "select" else empty
    due = foresee(warehouse.pipeline, manifests, wanted, missed)
    selected = {one.ds for one in manifests if one.policy == warehouse.pipeline.selection.policy}
    selected |= {ds for ds in wanted if due[ds] is not False and ds not in missed}
    return [
        _planned(warehouse, ds, now, manifests, ds in scored, due[ds], _last(selected, ds))
        for ds in wanted
    ]


def without_traffic(instances: Mapping[date, int], ds: date) -> bool:
    """Whether a day has no instance, and days before and after it have: nothing was asked on it.

    instances: how many each date has.
    """
    there = [day for day, count in instances.items() if count]
    return ds not in there and bool(there) and min(there) < ds < max(there)


def _last(selected: Set[date], ds: date) -> date:
    """The last day before `ds` that has a refresh, or will have one; the first of all without."""
    return max((day for day in selected if day < ds), default=date.min)


def _planned(
    warehouse: Warehouse,
    ds: date,
    now: Mapping[str, Mapping[date, int]],
    manifests: list[Manifest],
    scored: bool,
    due: bool | None,
    last: date,
) -> dict[str, Any]:
    own = refresh_id(warehouse.pipeline, ds)
    instances = now["instances"]
    there = next((one for one in manifests if one.refresh_id == own), None)
    stale = [] if there is None else _changed_inputs(warehouse, there, now)
    return {
        "ds": ds,
        "instances": instances.get(ds, 0),
        "without_traffic": without_traffic(instances, ds),
        "scored": scored,
        "selected": there is not None,
        "due": due,
        "refresh_id": own,
        "stale": stale,
        "other_configurations": [
            one.refresh_id
            for one in manifests
            if one.ds == ds
            and one.policy == warehouse.pipeline.selection.policy
            and one.refresh_id != own
        ],
        "estimated_rows": _estimate(warehouse, ds, instances, there, due, last),
    }


def _estimate(
    warehouse: Warehouse,
    ds: date,
    instances: Mapping[date, int],
    there: Manifest | None,
    due: bool | None,
    last: date,
) -> int | None:
    """Rows of the refresh that is there; else those that the budget draws, if the day is due and
    every instance of the window has a record and a label; None for GPU hours.

    last: the day of the refresh before; the instances after it are its forward passes.
    """
    if there is not None:
        return there.counts.drawn
    if due is False:
        return 0
    pipeline = warehouse.pipeline
    budget = parse_budget(pipeline.selection.budget)
    if budget.unit == "gpu hours":
        return None
    first, end = window_start(pipeline, ds), ds - timedelta(days=pipeline.selection.forward_days)
    asked = round(_in_window(instances, first, end) * (1 - pipeline.holdout))
    if budget.unit == "per forward pass":
        paid = budget.amount * _in_window(instances, max(first, _next(last)), ds)
        return min(asked, int(paid / pipeline.training.passes))
    return budget.rows(asked) if asked else 0


def _next(day: date) -> date:
    return day + timedelta(days=1)


def _changed_inputs(
    warehouse: Warehouse, manifest: Manifest, now: Mapping[str, Mapping[date, int]]
) -> list[str]:
    """Why a refresh made anew could differ: inputs whose rows of its window are more or fewer."""
    reasons = []
    for name, version in manifest.inputs.versions.items():
        if name not in _INPUTS:
            continue
        try:
            then = warehouse.rows_by_date(name, version)
        except DeltaError:
            reasons.append(f"{name}: version {version} has expired, its rows cannot be compared")
            continue
        window = manifest.inputs.window_start, manifest.ds
        before, after = _in_window(then, *window), _in_window(now[name], *window)
        if before != after:
            reasons.append(f"{name}: {before} rows of the window at version {version}, now {after}")
    return reasons


def _in_window(counts: Mapping[date, int], start: date, end: date) -> int:
    return sum(count for day, count in counts.items() if start <= day <= end)
