"""What a refresh was made from: its configuration and its tables, as its manifest pins them."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError
from pydantic import ValidationError

from schemas.asked import ASKED, propensities
from schemas.errors import NoDataError, TenforwardError
from schemas.manifests import BOOTSTRAP, Decided, Manifest
from schemas.pipeline import Pipeline
from schemas.reasons import WRONG_DATE
from schemas.rules import Rules, rules_of
from schemas.set_aside import SET_ASIDE, ids_set_aside
from schemas.tables import all_tables, forward_records
from schemas.validation.reading import SECTIONS_ALONE
from spark_jobs.candidates.arrow_narrow import WHOLE, narrow_labels, narrow_records, together
from spark_jobs.selection.columns import column
from spark_jobs.selection.engine import ENGINE
from spark_jobs.storage.day_files import files_by_date, rows_of_days

_RECORD = tuple(one.name for one in forward_records().columns if one.name != "event_date")
_DATE = pa.field("event_date", pa.date32())
_DAY = 86_400_000_000  # microseconds


class GoneError(NoDataError):
    """A refresh cannot be drawn again: what it was made from, or by, is not here any more."""


@dataclass(frozen=True)
class Pinned:
    """A refresh that can be looked at again. pipeline: as it was, as far as it decides a sample."""

    manifest: Manifest
    pipeline: Pipeline
    warehouse: str

    @staticmethod
    def of(manifest: Manifest, pipeline: Pipeline, warehouse: str) -> "Pinned":
        """Of a manifest; pipeline: of today. Raises GoneError where it does not say enough, or
        another engine drew it."""
        engine = None if manifest.decided is None else manifest.decided.engine
        if engine != ENGINE:
            raise GoneError(
                f"drawn by version {engine or 1} of the selection engine; this release has {ENGINE}"
            )
        then = json.loads(manifest.config)
        then.pop("training", None)  # of which it has only the passes, which made a budget
        try:
            whole = Pipeline.model_validate(pipeline.model_dump() | then, context=SECTIONS_ALONE)
        except ValidationError as error:
            raise GoneError(f"its configuration is that of another release ({error})") from error
        return Pinned(manifest, whole, warehouse)

    @property
    def decided(self) -> Decided:
        """What decided the draw beside inputs, configuration and seed."""
        assert self.manifest.decided is not None  # or `of` had refused it
        return self.manifest.decided

    @property
    def last_drawn(self) -> date:
        """The last event date that it draws from."""
        if self.manifest.policy == BOOTSTRAP:
            return self.manifest.ds
        return self.manifest.ds - timedelta(days=self.pipeline.selection.forward_days)

    @property
    def days(self) -> set[date]:
        """The event dates of its window."""
        start = self.manifest.inputs.window_start
        return {start + timedelta(days=n) for n in range((self.manifest.ds - start).days + 1)}

    def instances(self, days: Collection[date]) -> pa.Table:
        """instance_id, event_time and the columns of the segments. Raises GoneError."""
        columns = ("instance_id", "event_time", *self.pipeline.instances.segments)
        return self._rows("instances", tuple(dict.fromkeys(columns)), days)

    def records(self, days: Collection[date]) -> pa.Table:
        """Rows of `forward_records`, all but the date. Raises GoneError."""
        return self._rows("forward_records", _RECORD, days)

    def labels(self, days: Collection[date]) -> pa.Table:
        """instance_id, known_at, label, and row_weight where rows have weights of their own. Raises
        GoneError."""
        own = self.pipeline.labels.known_as
        columns = ("instance_id", "known_at", *own.values())
        named = ["instance_id", "known_at", *own, _DATE.name]
        return self._rows("labels", columns, days).rename_columns(named)

    @cached_property
    def aside(self) -> list[str]:
        """The ids that were set aside. Raises GoneError."""
        version = self.manifest.inputs.versions.get(SET_ASIDE)
        try:
            return ids_set_aside(self.warehouse, version)
        except (DeltaError, OSError) as error:
            raise _gone(SET_ASIDE, version) from error

    @cached_property
    def propensities(self) -> pa.Table:
        """instance_id and probability of those that were asked for their label. Raises
        GoneError."""
        inputs = self.manifest.inputs
        version = inputs.versions.get(ASKED)
        try:
            return propensities(self.warehouse, version, inputs.cut)
        except (DeltaError, OSError) as error:
            raise _gone(ASKED, version) from error

    @property
    def rules(self) -> Rules:
        """By which its records and labels were refused."""
        return rules_of(self.pipeline, self.decided.model_versions)

    def narrow(self, records: pa.Table, labels: pa.Table, instances: pa.Table) -> pa.Table:
        """Records, labels and instances of the same days as `arrow_narrow.seen_from` takes them."""
        if self.decided.keys_of_instances:
            records = with_keys_of(instances, records, self.pipeline.instances.segments)
        logged = narrow_records(records, self.rules, WHOLE)
        return together(
            [_dated(logged, records)], [narrow_labels(labels, self.rules, WHOLE)], WHOLE
        )

    def _rows(self, name: str, columns: tuple[str, ...], days: Collection[date]) -> pa.Table:
        """Columns of a table's rows of these days, and their `event_date`."""
        version = self.manifest.inputs.versions[name]
        whole = all_tables(self.pipeline)[name].arrow_schema
        schema = pa.schema([whole.field(one).with_nullable(True) for one in columns])
        parts = [schema.append(_DATE).empty_table()]
        try:
            asked = self.manifest.inputs.versions.get("instances")
            files = files_by_date(self.pipeline, self.warehouse, name, version, asked)
            for day, rows in rows_of_days(
                self.pipeline, self.warehouse, name, set(days), columns, files, asked
            ):
                dated = pa.repeat(pa.scalar(day), rows.num_rows)
                parts.append(rows.cast(schema).append_column(_DATE, dated))
        except (DeltaError, OSError, TenforwardError) as error:  # ours of a table elsewhere
            raise _gone(name, version) from error
        return pa.concat_tables(parts)


def _gone(name: str, version: int | None) -> GoneError:
    return GoneError(f"version {version} of {name} is not whole any more")


def _dated(logged: pa.Table, records: pa.Table) -> pa.Table:
    """Narrow records; those whose event date is not that of their event are faulty for it."""
    moment = column(logged, "event_time").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    day = np.asarray(pc.fill_null(moment, 0)) // _DAY
    other = day != np.asarray(column(records, "event_date").cast(pa.int32()))
    wrong = pc.and_(pa.array(other), pc.is_null(column(logged, "fault")))
    fault = pc.if_else(wrong, WRONG_DATE, column(logged, "fault"))
    return logged.set_column(
        logged.column_names.index("fault"), logged.schema.field("fault"), fault
    )


def with_keys_of(instances: pa.Table, records: pa.Table, names: Sequence[str]) -> pa.Table:
    """Records with the segment keys of their instances, those without one with empty keys; as
    `features.segments.with_keys_of`."""
    place = pc.index_in(column(records, "instance_id"), value_set=column(instances, "instance_id"))
    keys = [pc.fill_null(column(instances, name).take(place), "") for name in names]
    flat = pa.concat_arrays([*keys, pa.array([], pa.string())])
    rows = records.num_rows
    order = np.arange(rows * len(names)).reshape(len(names), rows).T.ravel()
    ends = pa.array(np.arange(rows + 1) * len(names), pa.int32())
    lists = pa.ListArray.from_arrays(ends, flat.take(pa.array(order)))
    at = records.column_names.index("segments")
    return records.set_column(at, "segments", lists)
