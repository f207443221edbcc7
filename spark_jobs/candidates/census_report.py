"""What a census puts into a refresh's report: coverage by day, and the faults of its data."""

from datetime import date, timedelta
from typing import Any

from schemas.manifests import BOOTSTRAP, Manifest, read_manifests
from spark_jobs.candidates.census import Census
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.storage.warehouse import Warehouse

NAMES = ("freshness", "coverage", "data")
EPOCH = date(1970, 1, 1)


def census_report(warehouse: Warehouse, plan: RefreshPlan, census: Census) -> dict[str, Any]:
    """`coverage`: by day of the window, with the limits of `[check]`; `data`: rows of each kind of
    finding, with a few ids; `freshness` of the views."""
    days = {EPOCH + timedelta(days=number): day for number, day in sorted(census.days.items())}
    answered = {day: counted.recorded > 0 for day, counted in days.items()}
    bootstrapped = bootstrapped_days(warehouse, answered)
    lines = [
        {"day": str(day), **counted._asdict(), "bootstrapped": day in bootstrapped}
        for day, counted in days.items()
    ]
    limits = warehouse.pipeline.check.model_dump(exclude={"freshness"})
    return {
        "freshness": _freshness(warehouse, plan),
        "coverage": {"days": lines, "limits": limits, "ds": str(plan.ds)},
        "data": {
            kind: {"rows": found.rows, "ids": list(found.ids)}
            for kind, found in census.found.items()
        },
    }


def seen(manifest: Manifest) -> dict[str, Any]:
    """The same as a manifest has it, with the limits and the bootstrap of then."""
    return {name: manifest.report[name] for name in NAMES if name in manifest.report}


def _freshness(warehouse: Warehouse, plan: RefreshPlan) -> list[dict[str, str]]:
    """Of each view with a limit its newest row and the newest instance, by the tables' logs; those
    are left out whose log does not say it.

    A view is told older than it was at the cut only where it has no later row by now.
    """
    asked = warehouse.newest("instances", plan.versions["instances"], "event_time")
    found = []
    for view in warehouse.pipeline.feature_views:
        name, limit = f"features/{view.name}", warehouse.pipeline.check.freshness.get(view.name)
        limit = limit or view.ttl
        newest = warehouse.newest(name, plan.versions[name], view.timestamp_field)
        if limit is not None and newest is not None and asked is not None:
            at = min(asked, plan.cut)
            told = {"newest": newest.isoformat(), "at": at.isoformat(), "limit": limit}
            found.append({"view": view.name, **told})
    return found


def bootstrapped_days(warehouse: Warehouse, answered: dict[date, bool]) -> set[date]:
    """The days that the first model learnt from, of those on which nothing has answered."""
    made = read_manifests(warehouse.path("refreshes"), policy=BOOTSTRAP)
    learnt = [(one.inputs.window_start, one.ds) for one in made]
    return {
        day
        for day, has_record in answered.items()
        if not has_record and any(first <= day <= last for first, last in learnt)
    }
