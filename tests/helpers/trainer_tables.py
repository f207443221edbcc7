"""Tiny refreshes for the trainer's tests: Delta tables written by delta-rs, no Spark."""

import hashlib
import shutil
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake

from schemas.bundle import ModelCard
from schemas.inputs import model_inputs
from schemas.manifests import Inputs, Manifest, Part, RowCounts, StoredFile
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
        "probability": rows.get("probability", np.full(count, 0.1)),
    }
    position = {"position": np.arange(first_position, first_position + count)}
    _write(warehouse, sampled(pipeline), refresh_id, position | rows | own, parts)
    few = len(held_out["label"])
    held_out = {"segments": [[]] * few, "forward": np.zeros(few, np.bool_)} | held_out
    _write(warehouse, holdout(pipeline), refresh_id, held_out, 1)
    made = Manifest(
        refresh_id=refresh_id,
        pipeline=pipeline.name,
        ds=date(2013, 2, day),
        policy=pipeline.selection.policy,
        seed=7,
        config=pipeline.selection_config(),
        config_digest=pipeline.selection_digest(),
        inputs=Inputs(
            window_start=date(2013, 1, 1),
            cut=datetime(2013, 2, day, tzinfo=UTC) + timedelta(days=1),
            versions={},
        ),
        counts=RowCounts(count * 10, drawn=count, held_out=few, rejected=0),
        sampled=_part(warehouse, "sampled", refresh_id),
        holdout=_part(warehouse, "holdout", refresh_id),
        sample_digest=f"digest-of-{refresh_id}",
        report={},
        created_at=datetime(2013, 2, day, 12, tzinfo=UTC),
    )
    write_manifest(warehouse, made, **manifest)


def two_refreshes(root: Path, pipeline: Pipeline) -> Path:
    """A new warehouse with the refreshes "first", 503 rows, and "second", 300 rows."""
    write_refresh(root, pipeline, "first", random_rows(503, seed=1), day=1)
    write_refresh(root, pipeline, "second", random_rows(300, seed=2), parts=2, day=2)
    return root


def sound_and_flipped(factory: pytest.TempPathFactory, pipeline: Pipeline) -> Path:
    """A new warehouse of two refreshes: "sound", and a later one whose labels are upside down."""
    root = factory.mktemp("untrained")
    shutil.copy(empty_database(factory.getbasetemp()), root / "mlflow.db")
    write_refresh(root, pipeline, "sound", random_rows(500, seed=1), day=1)
    flipped = random_rows(500, seed=2)
    flipped["label"] = 1 - flipped["label"]
    write_refresh(root, pipeline, "flipped", flipped, day=2)
    return root


def write_manifest(warehouse: Path, manifest: Manifest, **changed: Any) -> None:
    """Append a manifest to `refreshes`; `changed` overrides columns of its row."""
    [row] = manifest.to_table().to_pylist()
    table = pa.Table.from_pylist([row | changed], schema=refreshes().arrow_schema)
    write_deltalake(str(warehouse / "refreshes"), table, mode="append")


def _part(warehouse: Path, name: str, refresh_id: str) -> Part:
    """The files of a refresh as its manifest records them."""
    table = Snapshot(str(warehouse / name))
    files = [
        StoredFile(
            path=(path := f"{name}/{unquote(action['path'])}"),
            rows=action["num_records"],
            bytes=action["size_bytes"],
            sha256=hashlib.sha256((warehouse / path).read_bytes()).hexdigest(),
        )
        for action in pa.table(table.get_add_actions(flatten=True)).to_pylist()
        if action["partition.refresh_id"] == refresh_id
    ]
    return Part(table.version(), tuple(files))


def _write(warehouse: Path, table: Any, refresh_id: str, rows: Columns, parts: int) -> None:
    count = len(rows["label"])
    columns = {
        "refresh_id": np.repeat(refresh_id, count),
        "instance_id": np.array([f"{refresh_id}-{i}" for i in range(count)], dtype=object),
        "position": np.arange(count),
    } | rows
    schema = table.arrow_schema
    columns = {name: [None] * count for name in schema.names} | columns  # those that may be null
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
