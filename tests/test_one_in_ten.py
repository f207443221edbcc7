"""Law 8, from end to end: one backward pass for ten forward passes, counted and kept."""

from pathlib import Path

import pytest

from console.status import status
from spark_jobs.backfill import train_day
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, twin_of

pytestmark = pytest.mark.slow


def test_law_8_a_tenth_of_a_backward_pass_for_each_forward_pass_is_drawn_and_trained(
    loop, tmp_path
):
    """The first refresh of a configuration of its own counts its whole window, the next a day."""
    warehouse = twin_of(loop["warehouse"], tmp_path)
    pipeline = warehouse.pipeline
    selection = pipeline.selection.model_copy(
        update={"budget": "0.1 per forward pass", "policy": "uniform"}
    )
    training = pipeline.training.model_copy(update={"epochs": 2})
    tenth = Warehouse(
        warehouse.root,
        pipeline.model_copy(update={"selection": selection, "training": training}),
    )
    passes = 0.0
    for ds in LOOPED:
        told = select_day(tenth, ds)
        passes += 0.1 * told["forward_passes"]
        assert told["drawn"] == int(passes / 2)
        assert told["backward_passes_planned"] == 2 * told["drawn"]
        passes -= told["backward_passes_planned"]
        trained = train_day(tenth, ds)
        assert trained["ledger"]["backward_passes_spent"] == told["backward_passes_planned"]
    ledger = status(tenth.pipeline, tenth.root)["ledger"]
    assert ledger["spent_per_forward_pass"] == pytest.approx(0.1, abs=2 / ledger["forward_passes"])
    rebuilt = select_day(tenth, LOOPED[1], rebuild=True)
    assert rebuilt["sample_digest"] == told["sample_digest"]
    assert rebuilt["forward_passes"] == told["forward_passes"]
    card = Path(told["report_card"]).read_text()
    assert "Backward passes planned" in card
