"""Which instances of a day the scoring job has answered, and the mark of a day that is done.

A run that names no model *serves*: the champion answers what no such run has answered before it,
so a later champion does not answer again. A run that names a model version answers what that
version has not, whoever recorded it: batches of the two begin with `score/` and with `shadow/`.

A day is marked, in a commit that adds no row, with a number for the files of `instances` that held
the day. While these are the same there is nothing to look for.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction
from deltalake import DeltaTable as Snapshot
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from inference.registered import find_champion
from spark_jobs.storage.day_files import rows_of_days
from spark_jobs.storage.warehouse import Warehouse

SERVED, NAMED = "score/", "shadow/"


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


def to_score(warehouse: Warehouse, day: date) -> int:
    """How many instances of a day the champion has yet to answer, counted without Spark."""
    read = partial(rows_of_days, warehouse.pipeline, warehouse.root, days={day})
    ids = [rows["instance_id"] for _, rows in read("instances", columns=("instance_id",))]
    asked = pa.chunked_array([chunk for one in ids for chunk in one.chunks], pa.string()).unique()
    named = ("instance_id", "batch_id", "model_version")
    answered = []
    for _, rows in read("forward_records", columns=named):
        by = pc.starts_with(rows["batch_id"], SERVED)
        if not pc.all(by).as_py():
            champion = find_champion(warehouse.pipeline.name, warehouse.root)
            version = None if champion is None else champion.version
            by = pc.or_kleene(by, pc.equal(rows["model_version"], pa.scalar(version, pa.string())))
        answered.append(rows.filter(by)["instance_id"])
    for _, rows in read("forward_rejects", columns=named[:2]):
        answered.append(rows.filter(pc.starts_with(rows["batch_id"], SERVED))["instance_id"])
    known = pa.chunked_array([chunk for one in answered for chunk in one.chunks], pa.string())
    return len(asked) - int(pc.sum(pc.is_in(asked, value_set=known)).as_py() or 0)


def unanswered(
    warehouse: Warehouse,
    instances: DataFrame,
    days: Sequence[date],
    model_version: str,
    serves: bool,
) -> DataFrame:
    """The instances of the days that lack an answer; a refused answer counts as one.

    model_version: the one that is about to answer. serves: whether as the champion.
    """
    names = ("forward_records", "forward_rejects")
    counts = [warehouse.rows_by_date(name) for name in names]
    if not any(count.get(day) for count in counts for day in days):
        return instances
    records, rejects = (
        warehouse.read(name).where(F.col("event_date").isin(*days)) for name in names
    )
    refused = rejects.where(
        F.col("batch_id").startswith(SERVED) | F.col("batch_id").startswith(NAMED)
    ).withColumn("model_version", F.get_json_object("record", "$.model_version"))
    columns = ("instance_id", "model_version", "batch_id")
    there = records.select(*columns).unionByName(refused.select(*columns))
    same = F.col("model_version") == model_version
    answered = there.where(same | F.col("batch_id").startswith(SERVED) if serves else same)
    return instances.join(answered.select("instance_id"), "instance_id", "left_anti")
