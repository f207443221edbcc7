"""What a backfill finds and would do; no Spark."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from deltalake.exceptions import DeltaError

from schemas.errors import TenforwardError
from schemas.manifests import Manifest, read_manifests
from spark_jobs.days.answered import answered_days, states, to_score
from spark_jobs.days.by_dates import foresee
from spark_jobs.days.estimates import Estimate, estimates
from spark_jobs.days.outlook import outlook
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.storage.warehouse import Warehouse

# Tables whose rows of the window decide the candidates. Labels are left out: those that came
# after the cut do not count, so a larger table says nothing.
_INPUTS = ("instances", "forward_records")


def days(start: date, end: date) -> Iterator[date]:
    """Every date from start to end, both included."""
    for number in range((end - start).days + 1):
        yield start + timedelta(days=number)


def runs(only: str | None, step: str) -> bool:
    """Whether a backfill runs a step. only: names of steps, separated by commas; None for all."""
    return only is None or step in only.split(",")


def plan(
    warehouse: Warehouse,
    start: date,
    end: date,
    *,
    only: str | None = None,
    force: bool = False,
    count: bool = True,
) -> list[dict[str, Any]]:
    """What each day has and lacks, what is stale, whether it is due, and how many rows it would
    score and draw.

    only: the steps that will run, where not all do; see `runs`. force: whether what is selected
    will be selected anew. count: whether rows are counted, for which the tables are read; without,
    what is not done yet has no figures. A day without instances is not scored, and then not
    selected either; nor is one without a record, where a server's recorder brings them. Of a log
    nothing is foreseen: what it has shows when it is read.
    """
    warehouse.require(*warehouse.tables)
    wanted = list(days(start, end))
    now = {name: warehouse.rows_by_date(name) for name in _INPUTS}
    manifests = read_manifests(warehouse.path("refreshes"), pipeline=warehouse.pipeline.name)
    source = warehouse.pipeline.records_from
    empty = {ds for ds in wanted if not now["instances"].get(ds)}
    without = {ds for ds in wanted if not now["forward_records"].get(ds)}
    if source == "score":
        scored = answered_days(warehouse, wanted, states(warehouse))
    else:
        scored = {*wanted} - without
    missed = set(empty) if runs(only, "score") or not runs(only, "select") else set()
    if source == "online":
        missed |= without
    asked = source == "score" and runs(only, "score")
    fresh = {ds for ds in wanted if ds not in scored | empty} if asked else set()
    answered = fresh if runs(only, "score") and runs(only, "select") else set()
    work = _Work(warehouse, wanted, manifests, missed, answered, force)
    due, told = work.counted() if count and runs(only, "select") else work.uncounted()
    if source == "online":
        due |= dict.fromkeys(without, False)
    lacking = to_score(warehouse, fresh) if count and fresh else {}
    return [
        _planned(warehouse, ds, now, manifests, due[ds], told.get(ds))
        | {"source": source, "scored": ds in scored}
        | {"to_score": lacking.get(ds, None if ds in fresh else 0)}
        for ds in wanted
    ]


@dataclass(frozen=True)
class _Work:
    """Days to select, and what stands when they are reached.

    missed: those that will not be selected. answered: those of which every instance has a record.
    """

    warehouse: Warehouse
    wanted: Sequence[date]
    manifests: Sequence[Manifest]
    missed: Set[date]
    answered: Set[date]
    force: bool

    def counted(self) -> tuple[dict[date, bool | None], dict[date, Estimate]]:
        """Which days are due, and what each that may be selected will draw; nothing of the others.

        A day from whose window nothing can be drawn is passed over, and the next is due in its
        place.
        """
        pipeline = self.warehouse.pipeline
        seen = outlook(pipeline, self.warehouse.root, self.wanted)
        nothing = {
            ds
            for ds in self.wanted
            if not seen.candidates(ds, {day for day in self.answered if day <= ds})
        }
        due = foresee(pipeline, self.manifests, self.wanted, {*self.missed, *nothing})
        runs = [ds for ds in self.wanted if due[ds] is not False and ds not in self.missed]
        given = estimates(
            self.warehouse, seen, runs, self.answered, self.manifests, force=self.force
        )
        return due, dict.fromkeys(self.wanted, Estimate(0, 0)) | dict(given)

    def uncounted(self) -> tuple[dict[date, bool | None], dict[date, Estimate]]:
        """Which days are due, and the rows of the refreshes that are there."""
        pipeline = self.warehouse.pipeline
        names = {refresh_id(pipeline, ds): ds for ds in self.wanted}
        there = {
            names[one.refresh_id]: Estimate(one.counts.candidates, one.counts.drawn)
            for one in self.manifests
            if one.refresh_id in names
        }
        return foresee(pipeline, self.manifests, self.wanted, self.missed), there


def without_traffic(instances: Mapping[date, int], ds: date) -> bool:
    """Whether a day has no instance, and days before and after it have: nothing was asked on it.

    instances: how many each date has.
    """
    there = [day for day, count in instances.items() if count]
    return ds not in there and bool(there) and min(there) < ds < max(there)


def _planned(
    warehouse: Warehouse,
    ds: date,
    now: Mapping[str, Mapping[date, int]],
    manifests: list[Manifest],
    due: bool | None,
    told: Estimate | None,
) -> dict[str, Any]:
    own = refresh_id(warehouse.pipeline, ds)
    instances = now["instances"]
    there = next((one for one in manifests if one.refresh_id == own), None)
    stale = [] if there is None else _changed_inputs(warehouse, there, now)
    return {
        "ds": ds,
        "instances": instances.get(ds, 0),
        "without_traffic": without_traffic(instances, ds),
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
        "candidates": None if told is None else told.candidates,
        "estimated_rows": None if told is None else told.rows,
        "give_or_take": 0 if told is None else told.give_or_take,
        "refused": False if told is None else told.refused,
    }


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
        except (DeltaError, TenforwardError):  # ours of a table elsewhere
            reasons.append(f"{name}: version {version} has expired, its rows cannot be compared")
            continue
        window = manifest.inputs.window_start, manifest.ds
        before, after = _in_window(then, *window), _in_window(now[name], *window)
        if before != after:
            reasons.append(f"{name}: {before} rows of the window at version {version}, now {after}")
    return reasons


def _in_window(counts: Mapping[date, int], start: date, end: date) -> int:
    return sum(count for day, count in counts.items() if start <= day <= end)
