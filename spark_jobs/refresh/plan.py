"""What is known of a refresh before it is drawn: its name, its seed, what it reads."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from schemas.asked import ASKED
from schemas.errors import ConfigurationError
from schemas.manifests import Manifest
from schemas.pipeline import Pipeline
from schemas.set_aside import SET_ASIDE
from spark_jobs.refresh.elsewhere import require_as_pinned

if TYPE_CHECKING:  # `due`, which has no Spark, names refreshes and cuts as well
    from spark_jobs.storage.warehouse import Warehouse


@dataclass(frozen=True)
class RefreshPlan:
    """What is known of a refresh before it is drawn."""

    refresh_id: str
    ds: date
    window_start: date
    last_drawn: date  # later days of the window are there to judge by
    cut: datetime
    policy: str
    seed: int
    versions: Mapping[str, int]  # of every table that is read


def refresh_id(pipeline: Pipeline, ds: date) -> str:
    """The name of a refresh: its day, its policy and the configuration that decides the sample."""
    return f"{ds}-{pipeline.selection.policy}-{pipeline.selection_digest()[:8]}"


def refresh_seed(pipeline: Pipeline, ds: date) -> int:
    """The seed of one refresh, 1 to 2^53: another day draws anew."""
    text = f"{pipeline.name}/{pipeline.selection.seed}/{ds}"
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % ((1 << 53) - 1)


def cut_of(ds: date) -> datetime:
    """The moment up to which labels and features count for a day: its end, UTC."""
    return datetime.combine(ds + timedelta(days=1), time(), UTC)


def window_start(pipeline: Pipeline, ds: date) -> date:
    """The first event date of a day's window; `ds` is the last."""
    return ds - timedelta(days=pipeline.selection.window_days - 1)


def plan_refresh(warehouse: "Warehouse", ds: date) -> RefreshPlan:
    """Everything that decides the refresh of a day, table versions included."""
    pipeline = warehouse.pipeline
    views = [f"features/{view.name}" for view in pipeline.feature_views]
    read = ["forward_records", "labels", "instances", *views]
    aside = {SET_ASIDE: warehouse.version(SET_ASIDE)} if warehouse.exists(SET_ASIDE) else {}
    return RefreshPlan(
        refresh_id=refresh_id(pipeline, ds),
        ds=ds,
        window_start=window_start(pipeline, ds),
        last_drawn=ds - timedelta(days=pipeline.selection.forward_days),
        cut=cut_of(ds),
        policy=pipeline.selection.policy,
        seed=refresh_seed(pipeline, ds),
        versions={name: warehouse.version(name) for name in read} | aside | _asked(warehouse),
    )


def _asked(warehouse: "Warehouse") -> dict[str, int]:
    """The version of the table of asks; none where nobody has been asked yet."""
    there = warehouse.exists(ASKED) and warehouse.files(ASKED)
    return {ASKED: warehouse.version(ASKED)} if there else {}


def plan_then(warehouse: "Warehouse", plan: RefreshPlan, manifest: Manifest) -> RefreshPlan:
    """The plan as it was when `manifest` was written: seed, cut and table versions of then.

    Raises ConfigurationError where a version is gone, or another configuration drew.
    """
    if manifest.config_digest != warehouse.pipeline.selection_digest():
        raise ConfigurationError(
            f"refresh {manifest.refresh_id}: drawn under the configuration"
            f" {manifest.config_digest[:12]}, the pipeline file gives"
            f" {warehouse.pipeline.selection_digest()[:12]}. Remedy: give the pipeline file,"
            " policy, budget and seed that it was made with."
        )
    versions = manifest.inputs.versions
    require_as_pinned(warehouse, manifest)
    gone = [name for name, version in versions.items() if not warehouse.has(name, version)]
    if gone:
        source = warehouse.foreign(gone[0])
        kept = "maintenance.reproduce and maintenance.pinned decide how long versions are kept"
        if source is not None:
            kept = "its owner decides how long (delta.logRetentionDuration, VACUUM)"
        raise ConfigurationError(
            f"--ds = {plan.ds}: version {versions[gone[0]]} of"
            f" {gone[0] if source is None else source.table} is not whole any more."
            f" Remedy: with --force it is made from the tables as they are; {kept}."
        )
    return replace(
        plan,
        window_start=manifest.inputs.window_start,
        cut=manifest.inputs.cut,
        seed=manifest.seed,
        versions=versions,
    )
