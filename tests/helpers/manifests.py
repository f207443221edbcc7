"""Manifests of refreshes without rows, for tests of what is told of refreshes."""

from dataclasses import replace
from datetime import date
from typing import Any

from schemas.manifests import Inputs, Manifest, Part, RowCounts
from schemas.pipeline import Pipeline
from spark_jobs.refresh.plan import cut_of, refresh_id, window_start


def manifest_without_rows(pipeline: Pipeline, ds: date, **changes: Any) -> Manifest:
    """That of a day's refresh; `changes` are fields of the manifest."""
    made = Manifest(
        refresh_id=refresh_id(pipeline, ds),
        pipeline=pipeline.name,
        policy=pipeline.selection.policy,
        ds=ds,
        seed=1,
        config=pipeline.selection_config(),
        config_digest=pipeline.selection_digest(),
        inputs=Inputs(window_start(pipeline, ds), cut_of(ds), {}),
        counts=RowCounts(0, 0, 0, 0),
        sampled=Part(1),
        holdout=Part(1),
        sample_digest="none",
        report={},
        created_at=cut_of(ds),
    )
    return replace(made, **changes)
