"""What refreshes will have to choose from: candidates and forward passes, counted in the tables.

Reads ids, times and labels of every event date once, whatever the number of refreshes; no Spark.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from schemas.pipeline import Pipeline
from schemas.progress import step
from schemas.rules import rules_of
from schemas.set_aside import ids_set_aside, version_set_aside
from schemas.tables import all_tables, forward_records
from spark_jobs.days.maturing import Maturing, maturing
from spark_jobs.refresh.plan import cut_of, window_start
from spark_jobs.refresh.registered import models_of
from spark_jobs.storage.day_files import Files, files_by_date, rows_of_days

_TABLES: dict[str, tuple[str, ...]] = {
    "instances": ("instance_id", "event_time"),
    "forward_records": tuple(
        column.name for column in forward_records().columns if column.name != "event_date"
    ),
    "labels": (),  # with the column that the pipeline names
}
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


@dataclass(frozen=True)
class Reading:
    """The tables that decide who is a candidate, by event date; `days` hold a row to begin with."""

    pipeline: Pipeline
    warehouse: str
    files: Mapping[str, Files]

    @staticmethod
    def of(pipeline: Pipeline, warehouse: str) -> "Reading":
        """Of a warehouse as it is."""
        return Reading(
            pipeline,
            warehouse,
            {name: files_by_date(pipeline, warehouse, name) for name in _TABLES},
        )

    @property
    def days(self) -> list[date]:
        """The event dates of instances and records, in order."""
        return sorted(self.files["instances"].keys() | self.files["forward_records"].keys())

    def rows(self, name: str, day: date) -> pa.Table:
        """Of instances id and time, of labels id, moment and `Labels.known_as`, of records all but
        the date."""
        own = self.pipeline.labels.known_as
        columns = _TABLES[name] or ("instance_id", "known_at", *own.values())
        files = self.files[name]
        found = rows_of_days(self.pipeline, self.warehouse, name, {day}, columns, files)
        whole = all_tables(self.pipeline)[name].arrow_schema
        schema = pa.schema([whole.field(one).with_nullable(True) for one in columns])
        return pa.concat_tables([schema.empty_table(), *(rows.cast(schema) for _, rows in found)])

    def labels(self, day: date) -> pa.Table:
        """instance_id, known_at, label, and row_weight where rows have weights of their own."""
        names = ["instance_id", "known_at", *self.pipeline.labels.known_as]
        return self.rows("labels", day).rename_columns(names)


def outlook(pipeline: Pipeline, warehouse: str, wanted: Sequence[date]) -> Outlook:
    """Of the refreshes of the days `wanted`, from the tables as they are."""
    reading = Reading.of(pipeline, warehouse)
    windows = [(window_start(pipeline, ds), ds) for ds in wanted]
    rules = rules_of(pipeline, models_of(pipeline, warehouse).accepted)
    aside = ids_set_aside(warehouse, version_set_aside(warehouse))

    def held(day: date) -> Maturing:
        asked, records = (reading.rows(name, day) for name in ("instances", "forward_records"))
        return maturing(pipeline, rules, day, asked, records, reading.labels(day), aside)

    within = [day for day in reading.days if any(first <= day <= last for first, last in windows)]
    with step("counting candidates", len(within), "days") as counted:
        days = {}
        for day in within:
            days[day] = held(day)
            counted.add()
    return Outlook(pipeline, days)
