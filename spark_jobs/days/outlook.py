"""What refreshes will have to choose from: candidates and forward passes, counted in the tables.

Reads ids, times and labels of every event date once, whatever the number of refreshes; no Spark.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from schemas.pipeline import Pipeline
from schemas.rules import Rules, rules_of
from schemas.tables import all_tables, forward_records
from spark_jobs.days.maturing import Maturing, maturing
from spark_jobs.refresh.plan import cut_of, window_start
from spark_jobs.refresh.registered import models_of
from spark_jobs.storage.day_files import Files, files_by_date, rows_of_days

_RECORD = tuple(column.name for column in forward_records().columns if column.name != "event_date")
_SECOND = 1_000_000  # in microseconds


@dataclass(frozen=True)
class Outlook:
    """The event dates of some refreshes' windows, those that hold an instance or a record."""

    pipeline: Pipeline
    days: Mapping[date, Maturing]

    def candidates(self, ds: date, answered: Set[date]) -> int:
        """Of the refresh of a day; every instance of the days `answered` has a record by then."""
        cut = round(cut_of(ds).timestamp()) * _SECOND
        last = ds - timedelta(days=self.pipeline.selection.forward_days)
        moments = (
            held.scored if day in answered else held.now for day, held in self._window(ds, last)
        )
        return sum(int(np.searchsorted(moment, cut, side="right")) for moment in moments)

    def refused(self, ds: date, answered: Set[date]) -> bool:
        """Whether more of the records, and of the labels, cannot be used than are allowed."""
        last = ds - timedelta(days=self.pipeline.selection.forward_days)
        window = self._window(ds, last)
        unusable = sum(held.unusable for _, held in window)
        to_come = sum(held.asked - held.recorded for day, held in window if day in answered)
        records = to_come + sum(held.records for _, held in window)
        return unusable > self.pipeline.selection.max_reject_share * records

    def recorded(self, ds: date, answered: Set[date], since: date = date.min) -> int:
        """Instances with a record in the window of a day, of the dates from `since` on."""
        return sum(
            held.asked if day in answered else held.recorded
            for day, held in self._window(ds, ds)
            if day >= since
        )

    def _window(self, ds: date, last: date) -> list[tuple[date, Maturing]]:
        first = window_start(self.pipeline, ds)
        return [(day, held) for day, held in self.days.items() if first <= day <= last]


def outlook(pipeline: Pipeline, warehouse: str, wanted: Sequence[date]) -> Outlook:
    """Of the refreshes of the days `wanted`, from the tables as they are."""
    files = {
        name: files_by_date(warehouse, name) for name in ("instances", "labels", "forward_records")
    }
    there = files["instances"].keys() | files["forward_records"].keys()
    windows = [(window_start(pipeline, ds), ds) for ds in wanted]
    read = [day for day in there if any(first <= day <= last for first, last in windows)]
    rules = rules_of(pipeline, models_of(pipeline, warehouse).accepted)
    days = {day: _day(pipeline, warehouse, rules, day, files) for day in sorted(read)}
    return Outlook(pipeline, days)


def _day(
    pipeline: Pipeline, warehouse: str, rules: Rules, day: date, files: Mapping[str, Files]
) -> Maturing:
    columns = {
        "instances": ("instance_id", "event_time"),
        "forward_records": _RECORD,
        "labels": ("instance_id", "known_at", pipeline.labels.label),
    }

    def rows(name: str) -> pa.Table:
        found = rows_of_days(pipeline, warehouse, name, {day}, columns[name], files[name])
        schema = all_tables(pipeline)[name].arrow_schema
        empty = pa.schema([schema.field(one) for one in columns[name]]).empty_table()
        return pa.concat_tables([empty, *(table.cast(empty.schema) for _, table in found)])

    labels = rows("labels").rename_columns(["instance_id", "known_at", "label"])
    return maturing(pipeline, rules, day, rows("instances"), rows("forward_records"), labels)
