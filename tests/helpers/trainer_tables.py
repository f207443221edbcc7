"""Tiny refreshes for the trainer's tests: Delta tables written by delta-rs, no Spark."""

import json
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake

from schemas.bundle import ModelCard
from schemas.inputs import model_inputs
from schemas.pipeline import Pipeline
from schemas.tables import holdout, refreshes, sampled
from trainer.data.reader import Rows, rows_from
from trainer.models.model import model_card
from trainer.promotion.registry import open_registry

Columns = dict[str, Any]
COLUMN_TYPES = {"shop": "string", "slot": "int32", "price": "float32", "age": "float32"}


def small_pipeline(task: str = "binary", **sections: Any) -> Pipeline:
    """Two categories and two numbers; `training={...}`, `model={...}` and so on change defaults."""
    training = {"epochs": 3, "batch_size": 64, "pull": 0.0}
    return Pipeline.model_validate(
        {
            "name": "small",
            "task": task,
            "instances": {
                "columns": {name: {"type": t} for name, t in COLUMN_TYPES.items()},
                "segments": sections.get("segments", []),
            },
            "labels": {"label": "y", "columns": {"y": {"type": "float64"}}},
            "features": {
                "shop": {"kind": "category", "buckets": 32},
                "price": {"kind": "number"},
                "slot": {"kind": "category", "buckets": 8},
                "age": {"kind": "number"},
            },
            "model": sections.get("model", {"hidden": [16, 8]}),
            "training": training | sections.get("training", {}),
            "gate": {"min_rows": 20} | sections.get("gate", {}),
            "selection": sections.get("selection", {}),
        }
    )


def random_rows(count: int, seed: int = 0) -> Columns:
    """Encoded features, and labels that depend on both kinds; about a quarter positive."""
    random = np.random.default_rng(seed)
    rows = {
        "shop": random.integers(0, 32, count).astype(np.int32),
        "price": random.normal(50, 20, count).astype(np.float32),
        "slot": random.integers(0, 8, count).astype(np.int32),
        "age": random.exponential(3, count).astype(np.float32),
    }
    return rows | {"label": (random.random(count) < chance(rows)).astype(np.float32)}


def chance(rows: Columns) -> np.ndarray:
    """The true probability behind `random_rows`."""
    logit = -1.6 + 0.04 * (rows["price"] - 50) + 0.25 * (rows["slot"] - 3.5) - 0.1 * rows["age"]
    return 1 / (1 + np.exp(-logit))


def write_refresh(
    warehouse: Path,
    pipeline: Pipeline,
    refresh_id: str,
    rows: Columns,
    held_out: Columns | None = None,
    *,
    parts: int = 4,
    day: int = 1,
    first_position: int = 0,
    **manifest: Any,
) -> None:
    """Append a refresh as `select` leaves one; `manifest` overrides columns of its manifest."""
    held_out = random_rows(200, seed=99) if held_out is None else held_out
    count = len(rows["label"])
    own = {
        "weight": rows.get("weight", np.ones(count, np.float32)),
        "offset": rows.get("offset", np.zeros(count, np.float32)),
        "probability": np.full(count, 0.1),
    }
    position = {"position": np.arange(first_position, first_position + count)}
    _write(warehouse, sampled(pipeline), refresh_id, position | rows | own, parts)
    few = len(held_out["label"])
    held_out = {"segments": [[]] * few, "forward": np.zeros(few, np.bool_)} | held_out
    _write(warehouse, holdout(pipeline), refresh_id, held_out, 1)
    table = Snapshot(str(warehouse / "sampled"))
    row = {
        "refresh_id": refresh_id,
        "pipeline": pipeline.name,
        "ds": date(2013, 2, day),
        "policy": pipeline.selection.policy,
        "window_start": date(2013, 1, 1),
        "cut": datetime(2013, 2, day, tzinfo=UTC) + timedelta(days=1),
        "seed": 7,
        "config": pipeline.selection_config(),
        "config_digest": pipeline.selection_digest(),
        "input_versions": "{}",
        "candidates": count * 10,
        "drawn": count,
        "rejected": 0,
        "held_out": len(held_out["label"]),
        "sampled_version": table.version(),
        "holdout_version": Snapshot(str(warehouse / "holdout")).version(),
        "files": json.dumps(list_files(warehouse, refresh_id)),
        "sample_digest": f"digest-of-{refresh_id}",
        "report": "{}",
        "created_at": datetime(2013, 2, day, 12, tzinfo=UTC),
    }
    write_manifest(warehouse, row | manifest)


def write_manifest(warehouse: Path, row: dict[str, Any]) -> None:
    """Append one row to `refreshes`."""
    manifest = pa.Table.from_pylist([row], schema=refreshes().arrow_schema)
    write_deltalake(str(warehouse / "refreshes"), manifest, mode="append")


def list_files(warehouse: Path, refresh_id: str) -> list[dict[str, Any]]:
    """The files of a refresh as its manifest records them."""
    actions = pa.table(Snapshot(str(warehouse / "sampled")).get_add_actions(flatten=True))
    return [
        {"path": a["path"], "rows": a["num_records"], "bytes": a["size_bytes"]}
        for a in actions.to_pylist()
        if a["partition.refresh_id"] == refresh_id
    ]


def _write(warehouse: Path, table: Any, refresh_id: str, rows: Columns, parts: int) -> None:
    count = len(rows["label"])
    columns = {
        "refresh_id": np.repeat(refresh_id, count),
        "instance_id": np.array([f"{refresh_id}-{i}" for i in range(count)], dtype=object),
        "position": np.arange(count),
    } | rows
    schema = table.arrow_schema
    whole = pa.table([pa.array(columns[n], schema.field(n).type) for n in schema.names], schema)
    for part in np.array_split(np.arange(count), parts):
        write_deltalake(
            str(warehouse / table.name),
            whole.take(pa.array(part)),
            mode="append",
            partition_by=list(table.partition_by),
        )


def in_memory(pipeline: Pipeline, rows: Columns) -> Rows:
    """The rows as the reader would hand them over."""
    return rows_from(model_inputs(pipeline), rows)


def small_card(pipeline: Pipeline, outputs: int = 1) -> ModelCard:
    """The card of the pipeline's model."""
    return model_card(pipeline, "none", outputs)


@cache
def empty_database(run: Path) -> Path:
    """An empty MLflow database, made once a run because that takes 4 s; warehouses get a copy.

    `run` is the run's own temporary folder, `tmp_path_factory.getbasetemp()`.
    """
    folder = run / "empty_database"
    folder.mkdir()
    open_registry(str(folder), "none", "none")
    return folder / "mlflow.db"
