"""Which candidates the labels of the last days have made: selection's definitions without Spark.

An instance is newly matured between two days when it is a candidate as seen from the cut of the
later one and was none from that of the earlier, on the records that are there now. Held-out
instances count like any other; those that were set aside do not.
"""

from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.pipeline import Pipeline
from schemas.rules import rules_of
from schemas.set_aside import ids_set_aside, version_set_aside
from schemas.tables import forward_records
from spark_jobs.candidates.arrow_narrow import (
    among,
    narrow_labels,
    narrow_records,
    seen_from,
    together,
)
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.maturity import old_until
from spark_jobs.refresh.defined import segments_changed
from spark_jobs.refresh.plan import cut_of, window_start
from spark_jobs.refresh.registered import models_of
from spark_jobs.selection.columns import column
from spark_jobs.selection.records import Records
from spark_jobs.storage.day_files import rows_of_days

_RECORD = tuple(column.name for column in forward_records().columns if column.name != "event_date")
_SEED = 1  # of the order of the rows, on which nothing here depends


def newly_matured(pipeline: Pipeline, warehouse: str, before: date, ds: date) -> Records:
    """The candidates of the window of `ds` whose label counts at its cut, and did not at the cut
    of the day `before`.

    Only the records of event dates on which a label can have matured meanwhile are read.
    """
    since, cut = cut_of(before), cut_of(ds)
    models, rule = models_of(pipeline, warehouse), pipeline.labels
    changed = segments_changed(pipeline, warehouse, window_start(pipeline, ds))
    rules = rules_of(pipeline, models.accepted, any_segments=changed)
    window = _days(window_start(pipeline, ds), ds)
    aside = ids_set_aside(warehouse, version_set_aside(warehouse))
    arrived = [
        (
            day,
            narrow_labels(rows.rename_columns(["instance_id", "known_at", *rule.known_as]), rules),
        )
        for day, rows in rows_of_days(
            pipeline,
            warehouse,
            "labels",
            window,
            ("instance_id", "known_at", *rule.known_as.values()),
        )
    ]
    days = {day for day, rows in arrived if _has_come(rows, since, cut)}
    if rule.after is not None:  # days of events that have become old enough
        days |= _days(old_until(rule, since).date(), old_until(rule, cut).date()) & window
    records = [
        narrow_records(rows.filter(pa.array(~among(column(rows, "instance_id"), aside))), rules)
        for _, rows in rows_of_days(pipeline, warehouse, "forward_records", days, _RECORD)
    ]
    rows = together(records, [rows for day, rows in arrived if day in days])
    now, then = (
        assemble(seen_from(rows, rule, at), _SEED, None, models.learnt_until)[0]
        for at in (cut, since)
    )
    assert now.kept is not None
    assert then.kept is not None
    known = pc.is_in(now.kept["instance_id"], value_set=column(then.kept, "instance_id"))
    return now.where(~np.asarray(known))


def _has_come(labels: pa.Table, since: datetime, cut: datetime) -> bool:
    """Whether a label became known after `since` and by the cut."""
    first, last = (int(at.timestamp() * 1_000_000) for at in (since, cut))
    moment = labels["moment"]
    come = pc.and_(pc.greater(moment, first), pc.less_equal(moment, last))
    return bool(pc.any(come, min_count=0).as_py())


def _days(first: date, last: date) -> set[date]:
    return {first + timedelta(days=number) for number in range((last - first).days + 1)}
