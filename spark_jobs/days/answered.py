"""Which instances of a day have their answer, and the mark of a day that the scoring job is done
with.

A run that names no model *serves*: the champion answers what has no answer. A record that served is
one, by whichever version and whoever wrote it: a run before this one (its batches begin with
`score/`), a server's recorder, an import. Two kinds of the others' records are none: one that
selection refuses, of a model that it does not accept, and one in sample, where the answer of the
champion would be out of sample. A run that names a model version (`shadow/`) answers what that
version has not, whoever recorded it, and does not serve.

A day is marked, in a commit that adds no row, with a number for the files of `instances` that held
the day. While these are the same there is nothing to look for.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction
from deltalake import DeltaTable as Snapshot
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from inference.registered import version_bearing
from spark_jobs.candidates.in_sample import in_sample
from spark_jobs.candidates.spark_in_sample import was_in_sample
from spark_jobs.refresh.registered import Models, models_of
from spark_jobs.selection.columns import column
from spark_jobs.storage.day_files import files_by_date, rows_of_days
from spark_jobs.storage.warehouse import Warehouse

SERVED, NAMED = "score/", "shadow/"
_ID, _REJECT = ("instance_id",), ("instance_id", "batch_id")
_RECORD = ("instance_id", "event_time", "model_version", "batch_id", "recorded_at")
_MOMENT = pa.timestamp("us", tz="UTC")


def states(warehouse: Warehouse, version: int | None = None) -> dict[date, int]:
    """A number for each date's files of `instances`, at a version: others, another number."""
    paths: dict[date, list[str]] = {}
    for file in warehouse.files("instances", version):
        state = file.get("state", "")  # of Parquet elsewhere, which may change under its name
        paths.setdefault(file["partition"]["event_date"], []).append(file["path"] + state)
    return {day: _fingerprint(names) for day, names in paths.items()}


def _fingerprint(names: Sequence[str]) -> int:
    """0 to 2^63 - 1, which is what a Delta transaction may be numbered with."""
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def answered_days(
    warehouse: Warehouse,
    days: Iterable[date],
    state: Mapping[date, int],
    model_version: str | None = None,
) -> set[date]:
    """The days of which every instance has its answer, from the tables' logs alone.

    state: as `states` gives it. model_version: the one that answers; None: the champion serves.
    """
    records = Snapshot(warehouse.path("forward_records"))
    return {
        day
        for day in days
        if day in state and records.transaction_version(_mark(day, model_version)) == state[day]
    }


def mark(
    warehouse: Warehouse,
    days: Sequence[date],
    state: Mapping[date, int],
    model_version: str | None = None,
) -> None:
    """Say that every instance of the days, as `state` has them, has its answer; one commit."""
    if days:
        table = Snapshot(warehouse.path("forward_records"))
        table.create_write_transaction(
            [],
            "append",
            table.schema(),
            partition_by=["event_date"],
            commit_properties=CommitProperties(
                app_transactions=[
                    Transaction(_mark(day, model_version), state[day]) for day in days
                ]
            ),
        )


def _mark(day: date, model_version: str | None) -> str:
    return f"scored/{day}" if model_version is None else f"scored/{day}/{model_version}"


def to_score(warehouse: Warehouse, days: Collection[date]) -> dict[date, int]:
    """How many instances of each day the champion has yet to answer, counted without Spark."""
    tables = {"instances": _ID, "forward_records": _RECORD, "forward_rejects": _REJECT}
    files = {name: files_by_date(warehouse.pipeline, warehouse.root, name) for name in tables}
    serving = cache(partial(_serving, warehouse))  # not asked of days that we alone have answered

    def ids(day: date, name: str, kept: Callable[[pa.Table], Any]) -> list[pa.Array]:
        read = partial(rows_of_days, warehouse.pipeline, warehouse.root, name, {day})
        return [_ids(rows.filter(kept(rows))) for _, rows in read(tables[name], files[name])]

    def answered(rows: pa.Table) -> Any:
        ours = pc.starts_with(rows["batch_id"], SERVED)
        return ours if pc.all(ours).as_py() else answers(rows, *serving(), datetime.now(UTC))

    def lacking(day: date) -> int:
        asked = pa.chunked_array(ids(day, "instances", _all), pa.string()).unique()
        known = ids(day, "forward_records", answered)
        known += ids(day, "forward_rejects", lambda rows: pc.starts_with(rows["batch_id"], SERVED))
        there = pc.is_in(asked, value_set=pa.chunked_array(known, pa.string()))
        return len(asked) - int(pc.sum(there).as_py() or 0)

    return {day: lacking(day) for day in days}


def _serving(warehouse: Warehouse) -> tuple[str | None, Models]:
    """The version that serves, and what is known of all of them."""
    version = version_bearing(warehouse.pipeline.name, warehouse.root)
    return version, models_of(warehouse.pipeline, warehouse.root)


def _all(rows: pa.Table) -> pa.Array:
    return pa.repeat(True, rows.num_rows)


def _ids(rows: pa.Table) -> pa.Array:
    return column(rows, "instance_id") if rows.num_rows else pa.array([], pa.string())


def answers(rows: pa.Table, version: str | None, models: Models, now: datetime) -> pa.Array:
    """Whether each record (n,) is an answer, where `version` is about to serve.

    rows: instance_id, event_time, model_version, batch_id, recorded_at.
    """
    batch, whose = column(rows, "batch_id"), column(rows, "model_version")
    event = column(rows, "event_time")
    made = np.asarray(column(rows, "recorded_at").cast(_MOMENT).cast(pa.int64()))
    learnt = in_sample(whose, event, made, models.learnt_until)
    new = pa.repeat(pa.scalar(version, pa.string()), rows.num_rows)
    moment = np.full(rows.num_rows, round(now.timestamp() * 1_000_000))
    served = ~learnt | in_sample(new, event, moment, models.learnt_until)
    if models.accepted is not None:
        served &= np.asarray(pc.is_in(whose, value_set=pa.array(models.accepted, pa.string())))
    by_others = pc.and_(pc.invert(pc.starts_with(batch, NAMED)), pa.array(served))
    own = pc.or_(pc.starts_with(batch, SERVED), pc.fill_null(pc.equal(whose, new), False))
    return pc.or_(own, by_others)


def _answers(version: str, models: Models, now: datetime) -> Column:
    """`answers` as Spark's column."""
    batch, whose = F.col("batch_id"), F.col("model_version")
    learnt = was_in_sample(whose, F.col("recorded_at"), models.learnt_until)
    served = ~learnt | was_in_sample(F.lit(version), F.lit(now), models.learnt_until)
    if models.accepted is not None:
        served &= whose.isin(*models.accepted)
    by_others = ~batch.startswith(NAMED) & served
    return batch.startswith(SERVED) | (whose == version) | by_others


def unanswered(
    warehouse: Warehouse,
    instances: DataFrame,
    days: Sequence[date],
    model_version: str,
    serves: bool,
) -> DataFrame:
    """The instances of the days that lack an answer; a refused answer of ours counts as one.

    model_version: the one that is about to answer. serves: whether as the champion.
    """
    names = ("forward_records", "forward_rejects")
    counts = [warehouse.rows_by_date(name) for name in names]
    if not any(count.get(day) for count in counts for day in days):
        return instances
    records, rejects = (
        warehouse.read(name).where(F.col("event_date").isin(*days)) for name in names
    )
    batch, same = F.col("batch_id"), F.col("model_version") == model_version
    told = F.get_json_object("record", "$.model_version").alias("model_version")
    refused = rejects.where(batch.startswith(SERVED) | batch.startswith(NAMED))
    refused = refused.select("instance_id", "batch_id", told)
    answer = refusal = same
    if serves:
        models = models_of(warehouse.pipeline, warehouse.root)
        answer = _answers(model_version, models, datetime.now(UTC))
        refusal = same | batch.startswith(SERVED)
    answered = records.where(answer).select("instance_id")
    answered = answered.unionByName(refused.where(refusal).select("instance_id"))
    return instances.join(answered, "instance_id", "left_anti")
