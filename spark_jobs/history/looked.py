"""All that `tenforward check` looks for, table by table, and what it tells as it goes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, NamedTuple

from schemas.log import log
from schemas.progress import step
from spark_jobs.history import instances, joined, records, views
from spark_jobs.history.data import Data
from spark_jobs.history.found import RowFinding
from spark_jobs.storage.settle import letting_go
from spark_jobs.storage.warehouse import Warehouse

# What looks at one table alone, by its name.
TABLES: dict[str, Callable[[Data], list[RowFinding]]] = {
    "instances": instances.look,
    "forward_records": records.look_at_records,
    "labels": records.look_at_labels,
}


class Looked(NamedTuple):
    """The findings, and the figures of the result."""

    findings: list[RowFinding]
    figures: dict[str, Any]


def look(
    warehouse: Warehouse, versions: dict[str, int], start: date | None, end: date | None
) -> Looked:
    """Look at every table of the pipeline at these versions, event dates from `start` to `end`."""
    data = Data(warehouse, versions, start, end)
    found: list[RowFinding] = []
    for name, faults in TABLES.items():
        with _told(name):
            found += faults(data)
    for view in warehouse.pipeline.feature_views:
        with _told(f"features/{view.name}"):
            found += views.look(data, view)
    with _told("freshness"):
        newest, stale = views.freshness(data)
        found += stale
    with _told("instances, records and labels side by side"):
        with letting_go() as keep:
            story = keep(joined.story(data).persist())
            found += joined.look(data, story)
            days, delays = joined.by_day(data, story), joined.delays(story)
        found += joined.short_days(data, days)
        figures = {"coverage": days, "label_delay_hours": delays, "newest": newest}
    order = {"error": 0, "warning": 1, "note": 2}
    return Looked(sorted(found, key=lambda one: order[one.severity]), figures)


@contextmanager
def _told(what: str) -> Iterator[None]:
    began = time.monotonic()
    log.info("checking %s", what)
    with step(f"checking {what}"):
        yield
    log.info("checked %s in %.1f s", what, time.monotonic() - began)
