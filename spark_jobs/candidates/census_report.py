"""What a census puts into a refresh's report: coverage by day, and the faults of its data."""

from datetime import date, timedelta
from typing import Any

from schemas.manifests import read_manifests
from spark_jobs.candidates.census import Census
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.storage.warehouse import Warehouse

EPOCH = date(1970, 1, 1)


def census_report(warehouse: Warehouse, plan: RefreshPlan, census: Census) -> dict[str, Any]:
    """`coverage`: by day of the window, with the limits of `[check]`; and `data`: rows of each kind
    of finding, with a few ids."""
    days = {EPOCH + timedelta(days=number): day for number, day in sorted(census.days.items())}
    answered = {day: counted.recorded > 0 for day, counted in days.items()}
    bootstrapped = bootstrapped_days(warehouse, answered)
    lines = [
        {"day": str(day), **counted._asdict(), "bootstrapped": day in bootstrapped}
        for day, counted in days.items()
    ]
    limits = warehouse.pipeline.check.model_dump(exclude={"freshness"})
    return {
        "coverage": {"days": lines, "limits": limits, "ds": str(plan.ds)},
        "data": {
            kind: {"rows": found.rows, "ids": list(found.ids)}
            for kind, found in census.found.items()
        },
    }


def bootstrapped_days(warehouse: Warehouse, answered: dict[date, bool]) -> set[date]:
    """The days that the first model learnt from, of those on which nothing has answered."""
    made = read_manifests(warehouse.path("refreshes"), policy="bootstrap")
    learnt = [(one.inputs.window_start, one.ds) for one in made]
    return {
        day
        for day, has_record in answered.items()
        if not has_record and any(first <= day <= last for first, last in learnt)
    }
