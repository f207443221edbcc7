"""Records of a few instances by day, and refreshes of these days, for what forward passes count."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake

from reference.plain_tables import create
from schemas.allowance import Allowance
from schemas.manifests import Inputs, Manifest
from schemas.pipeline import Pipeline
from schemas.tables import forward_records, refreshes
from spark_jobs.refresh.plan import RefreshPlan, cut_of, refresh_id, window_start
from tests.helpers.manifests import manifest_without_rows
from tests.helpers.trainer_tables import small_pipeline

WINDOW = 3


def without_rows(root: Path) -> Path:
    """The tables of records and of refreshes, empty, in this folder."""
    for table in (forward_records(), refreshes()):
        create(root, table)
    return root


def day(number: int) -> date:
    return date(2013, 2, number)


def pipeline_with(budget: float | str = 0.5, **training: Any) -> Pipeline:
    selection = {"policy": "uniform", "window_days": WINDOW, "budget": budget}
    return small_pipeline(selection=selection, training={"epochs": 2, **training})


def record(instance: str, number: int, version: str = "1") -> dict[str, Any]:
    """What one forward pass for an instance of that day left behind."""
    moment = datetime(2013, 2, number, 12, tzinfo=UTC)
    return {
        "instance_id": instance,
        "event_time": moment,
        "event_date": moment.date(),
        "model_version": version,
        "batch_id": "b",
        "recorded_at": moment + timedelta(seconds=int(version)),
        "prediction": 0.5,
        "segments": [],
    }


def append(root: Path, *rows: dict[str, Any]) -> int:
    """Append records; the version that holds them."""
    path = str(root / "forward_records")
    table = pa.Table.from_pylist(list(rows), forward_records().arrow_schema)
    write_deltalake(path, table, mode="append")
    return Snapshot(path).version()


def manifest(
    pipeline: Pipeline, number: int, version: int, allowance: Allowance | None = None
) -> Manifest:
    """A refresh of a day from a version of the records."""
    ds = day(number)
    inputs = Inputs(window_start(pipeline, ds), cut_of(ds), {"forward_records": version})
    return manifest_without_rows(pipeline, ds, inputs=inputs, allowance=allowance)


def plan_of(pipeline: Pipeline, number: int, version: int) -> RefreshPlan:
    ds = day(number)
    return RefreshPlan(
        refresh_id=refresh_id(pipeline, ds),
        ds=ds,
        window_start=window_start(pipeline, ds),
        last_drawn=ds,
        cut=cut_of(ds),
        policy=pipeline.selection.policy,
        seed=1,
        versions={"forward_records": version},
    )
