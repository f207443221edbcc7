"""A training begins with a share of its refresh's record step, where that is its parent's."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from schemas.errors import DataQualityError
from schemas.pipeline import Pipeline, load_pipeline
from schemas.record_step import RecordStep, step_in
from schemas.registry import CHAMPION, mlflow_client
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, manifest_of
from tests.helpers.trainer_tables import in_memory, random_rows, small_card, small_pipeline
from trainer.data.survey import survey_of
from trainer.fitting.start import Start, prepare
from trainer.models.export import Loaded
from trainer.models.model import build_model, model_card
from trainer.models.record_step import take
from trainer.train import train_refresh

NETWORKS: dict[str, dict[str, Any]] = {
    "embedding-mlp": {"name": "embedding-mlp", "hidden": [24, 20]},
    "narrow": {"name": "embedding-mlp", "hidden": [5]},
    "logistic-regression": {"name": "logistic-regression"},
}
ROWS = random_rows(200, seed=3)


def stepped_pipeline() -> Pipeline:
    return small_pipeline(training={"record_step": 0.1})


def of(pipeline: Pipeline, version: str = "7") -> Loaded:
    """A parent in the registry, fitted to nothing."""
    card = small_card(pipeline)
    return Loaded(card, build_model(card, seed=4).state_dict(), version=version)


def step_for(parent: Loaded, version: str = "7") -> RecordStep:
    random = np.random.default_rng(1)
    shape = 1 + parent.card.sketch_width, parent.card.outputs
    return RecordStep(version, 5000, 0.01, random.normal(size=shape).tolist())


def started(pipeline: Pipeline, parent: Loaded | None, step: RecordStep | None) -> Start:
    rows = in_memory(pipeline, ROWS)
    survey = survey_of([rows], pipeline.task)
    return prepare(pipeline, "some", survey, rows.label, parent, record_step=step)


def answers(start: Start, pipeline: Pipeline) -> tuple[np.ndarray, np.ndarray]:
    inputs = [torch.from_numpy(column) for column in in_memory(pipeline, ROWS).inputs]
    with torch.inference_mode():
        output, sketch = start.model().eval()(*inputs)
    return output.numpy(), sketch.numpy()


@pytest.mark.parametrize("network", list(NETWORKS))
def test_the_outputs_move_by_what_the_step_says_of_each_sketch(network):
    pipeline = small_pipeline(model=NETWORKS[network], training={"record_step": 0.25})
    parent = of(pipeline)
    step = step_for(parent)
    before, sketch = answers(started(pipeline, parent, None), pipeline)
    after, same_sketch = answers(started(pipeline, parent, step), pipeline)
    one = np.column_stack([np.ones(len(sketch)), sketch])
    np.testing.assert_allclose(after, before + 0.25 * one @ np.array(step.move), atol=1e-5)
    np.testing.assert_array_equal(same_sketch, sketch)


def test_a_convolutional_network_moves_as_well():
    pipeline = load_pipeline("pipelines/mnist.toml")
    card = model_card(pipeline, "some", 10)
    model = build_model(card, seed=4).eval()
    moved = build_model(card, seed=4).eval()
    random = torch.Generator().manual_seed(1)
    move = torch.randn(1 + card.sketch_width, 10, generator=random)
    take(moved, move)
    images = torch.rand(9, *card.shapes[0], generator=random)
    inputs = torch.zeros(9, 0, dtype=torch.int64), torch.zeros(9, 0), images
    with torch.inference_mode():
        (output, sketch), (after, _) = model(*inputs), moved(*inputs)
    one = torch.cat([torch.ones(9, 1), sketch], dim=1)
    torch.testing.assert_close(after, output + one @ move, atol=1e-5, rtol=1e-5)


def test_the_card_says_that_it_was_taken():
    pipeline = stepped_pipeline()
    parent = of(pipeline)
    start = started(pipeline, parent, step_for(parent))
    told = "from version 7, its last layer moved by the records of 5,000 rows"
    assert start.card.started == told


def test_records_of_another_version_are_left_alone(caplog):
    caplog.set_level(logging.INFO)
    pipeline = stepped_pipeline()
    parent = of(pipeline)
    start = started(pipeline, parent, step_for(parent, version="6"))
    assert start.move is None
    assert "no record step: it is of version 6, " in caplog.text


def test_nothing_moves_where_nothing_may():
    pipeline = stepped_pipeline()
    parent = of(pipeline)
    step = step_for(parent)
    off = small_pipeline(training={"record_step": 0.0})
    cold = small_pipeline(training={"warm_start": False, "record_step": 0.1})
    for start in (
        started(off, parent, step),
        started(cold, parent, step),
        started(pipeline, None, step),
        started(pipeline, parent, None),
        started(pipeline, parent, replace(step, move=step.move[:-1])),
    ):
        assert start.move is None
        assert "moved" not in start.card.started


@pytest.mark.parametrize("damage", [{"move": [[float("nan")]]}, {"other": 1}, None])
def test_a_damaged_step_is_refused_by_name(damage):
    sound = {"version": "7", "rows": 5000, "gain": 0.01, "move": [[0.5]]}
    report = {"record_step": damage if damage is None else sound | damage}
    with pytest.raises(DataQualityError, match=r"refresh some: record_step.*Remedy"):
        step_in(report, "some")
    assert step_in({}, "some") is None
    assert step_in({"record_step": sound}, "some") == RecordStep(**sound)


def test_a_refresh_keeps_it_a_rebuild_too_and_the_next_training_takes_it(twin):
    pipeline = twin.pipeline
    training = pipeline.training.model_copy(update={"record_step": 0.1})
    stepped = Warehouse(twin.root, pipeline.model_copy(update={"training": training}))
    client = mlflow_client(twin.root)
    client.set_registered_model_alias(pipeline.name, CHAMPION, "1")  # it has answered both days
    name = select_day(stepped, LOOPED[1], force=True)["refresh_id"]
    manifest = manifest_of(stepped, name)
    step = step_in(manifest.report, name)
    assert step is not None
    assert 400 < step.rows < 2000  # flights that have landed, of the first day or both
    assert 0 < step.gain < 0.1
    select_day(stepped, LOOPED[1], rebuild=True)
    assert step_in(manifest_of(stepped, name).report, name) == step
    trained = train_refresh(stepped.pipeline, stepped.root, name, force=True)
    told = f"from version {step.version}, its last layer moved by the records of {step.rows:,} rows"
    assert trained["started"] == told


def test_a_refresh_has_none_where_no_training_would_take_it(loop):
    for day in loop["days"]:
        assert (
            "record_step" not in manifest_of(loop["warehouse"], day["select"]["refresh_id"]).report
        )
