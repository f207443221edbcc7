"""Writing one refresh: probabilities, sample and hold-out first, the manifest last.

The manifest row is the commit. A job that dies before it leaves rows that no manifest names; the
next run of the same refresh replaces them.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from schemas.manifests import read_manifests
from spark_jobs.features.point_in_time import with_features
from spark_jobs.features.segments import segment_keys
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.storage.placement import placed
from spark_jobs.storage.settle import driver_rows, settle
from spark_jobs.storage.warehouse import Warehouse

_DECIDED = "tenforward_decided"  # beside the user's own columns, so not a name of theirs


def manifest(warehouse: Warehouse, refresh_id: str) -> dict[str, Any] | None:
    """The manifest of a refresh, or None where it does not exist."""
    rows = read_manifests(warehouse.path("refreshes"), refresh_id=refresh_id)
    return rows[0] if rows else None


def write_refresh(
    warehouse: Warehouse,
    plan: RefreshPlan,
    drawn: DataFrame,
    write_candidates: Callable[[], int],
    held_out: DataFrame,
    report: dict[str, Any],
    digest: str,
    rejected: int,
) -> dict[str, Any]:
    """Write a refresh whole and return its manifest.

    drawn: the drawn candidates with the columns of `selection_probabilities` but the refresh id;
    write_candidates puts all of them there. held_out: instance_id and label of the held-out rows
    of the window.
    """
    held_out = held_out.persist()
    at_most = int(report["drawn"]) + held_out.count()
    wanted = settle(_wanted(drawn, held_out), at_most)
    rows = settle(training_rows(warehouse, plan, wanted, at_most), at_most)
    with ThreadPoolExecutor(max_workers=3) as pool:
        trained = _in_files(
            rows.where("position >= 0 and trains"),
            warehouse.pipeline.selection.files,
            int(report["drawn"]),
        )
        judged = rows.where("not trains").coalesce(1)
        writes = (
            pool.submit(write_candidates),
            pool.submit(warehouse.replace_refresh, trained, "sampled", plan.refresh_id),
            pool.submit(warehouse.replace_refresh, judged, "holdout", plan.refresh_id),
        )
        _, sampled_version, holdout_version = (write.result() for write in writes)
    for kept in (rows, wanted, held_out):
        kept.unpersist()
    files = _files(warehouse, "sampled", sampled_version, plan.refresh_id)
    entry = {
        "refresh_id": plan.refresh_id,
        "pipeline": warehouse.pipeline.name,
        "ds": plan.ds,
        "policy": plan.policy,
        "window_start": plan.window_start,
        "cut": plan.cut,
        "seed": plan.seed,
        "config": warehouse.pipeline.selection_config(),
        "config_digest": warehouse.pipeline.selection_digest(),
        "input_versions": json.dumps(plan.versions, sort_keys=True),
        "candidates": int(report["candidates"]),
        "drawn": sum(file["rows"] for file in files),
        "rejected": rejected,
        "held_out": sum(
            file["rows"] for file in _files(warehouse, "holdout", holdout_version, plan.refresh_id)
        ),
        "sampled_version": sampled_version,
        "holdout_version": holdout_version,
        "files": json.dumps(files),
        "sample_digest": digest,
        "report": json.dumps(report),
        "created_at": datetime.now(UTC),
    }
    if entry["drawn"] != report["drawn"]:
        raise ArithmeticError(
            f"refresh {plan.refresh_id}: {report['drawn']} rows drawn, {entry['drawn']} written"
        )
    table = pa.Table.from_pylist([entry], schema=warehouse.tables["refreshes"].arrow_schema)
    warehouse.replace_refresh(warehouse.spark.createDataFrame(table), "refreshes", plan.refresh_id)
    return entry


def _wanted(drawn: DataFrame, held_out: DataFrame) -> DataFrame:
    """Drawn and held-out rows without their features; `trains` tells them apart."""
    trained = drawn.select(
        "instance_id",
        "label",
        "weight",
        "offset",
        "probability",
        "position",
        F.lit(True).alias("trains"),
    )
    order = F.row_number().over(Window.orderBy("instance_id")) - 1
    kept = held_out.select(
        "instance_id",
        "label",
        F.lit(0.0).alias("weight"),
        F.lit(0.0).alias("offset"),
        F.lit(1.0).alias("probability"),
        order.cast("bigint").alias("position"),
        F.lit(False).alias("trains"),
    )
    return trained.unionByName(kept)


def training_rows(
    warehouse: Warehouse, plan: RefreshPlan, wanted: DataFrame, at_most: int
) -> DataFrame:
    """Drawn and held-out rows with their features: one point-in-time join for both."""
    instances = warehouse.read("instances", plan.versions["instances"]).where(
        F.col("event_date").between(F.lit(plan.window_start), F.lit(plan.ds))
    )
    # Only the chosen ids meet the wide rows: nine tenths of the feature join is never done. Where
    # they are few they go to the wide rows, which then stay where they are; where they are many, a
    # Bloom filter of them does (see `session`): Spark makes one of rows that passed a filter.
    few = at_most <= driver_rows(warehouse.spark)
    decided = F.struct(*(name for name in wanted.columns if name != "instance_id"))
    decisions = wanted.where("position >= 0").select("instance_id", decided.alias(_DECIDED))
    chosen = instances.join(F.broadcast(decisions) if few else decisions, "instance_id", "inner")
    chosen = settle(chosen, at_most)
    features = with_features(warehouse, chosen, plan.versions).drop("event_time")
    narrow = chosen.select(
        "instance_id",
        f"{_DECIDED}.*",
        segment_keys(warehouse.pipeline.instances.segments).alias("segments"),
        (F.col("event_date") > F.lit(plan.last_drawn)).alias("forward"),
    )
    label, weight, offset = (F.col(c).cast("float") for c in ("label", "weight", "offset"))
    return (
        features.join(F.broadcast(narrow) if few else narrow, "instance_id", "inner")
        .withColumns({"label": label, "weight": weight, "offset": offset})
        .withColumn("refresh_id", F.lit(plan.refresh_id))
    )


def _in_files(rows: DataFrame, files: int, count: int) -> DataFrame:
    """Rows in `files` partitions of equal size, by position: Spark writes one file of each."""
    files = max(1, min(files, count))
    number = F.floor(F.col("position") * files / F.lit(count))
    return placed(rows, number, files).sortWithinPartitions("refresh_id", "position")


def _files(warehouse: Warehouse, name: str, version: int, refresh_id: str) -> list[dict[str, Any]]:
    """Path, rows and bytes of every file of a refresh, from the pinned version's log."""
    return [
        {key: file[key] for key in ("path", "rows", "bytes")}
        for file in warehouse.files(name, version)
        if file["partition"]["refresh_id"] == refresh_id
    ]
