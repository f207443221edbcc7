"""An optimizer goes on, from fit to fit, with what the parent's had remembered."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inference.scorer import load_scorer
from schemas.bundle import OPTIMIZER
from schemas.pipeline import Pipeline
from schemas.sections.training import Training
from tests.helpers.trainer_tables import (
    empty_database,
    in_memory,
    random_rows,
    small_card,
    small_pipeline,
    write_refresh,
)
from trainer.data.reader import Rows
from trainer.data.sample import in_memory as sample_of
from trainer.fitting.fit import OPTIMIZERS, Fitted
from trainer.fitting.schedule import cosine
from trainer.fitting.trials import fit_rows
from trainer.models.export import Loaded, load_bundle, save_bundle
from trainer.models.model import build_model
from trainer.models.optimizer_state import KEPT, OptimizerState
from trainer.processes.ranks import Ranks
from trainer.processes.threads import one_thread
from trainer.promotion.registry import open_registry
from trainer.train import train_refresh

EPOCHS, BATCH = 2, 50  # of 600 and 400 rows: 24 and 16 steps
FIRST, SECOND = random_rows(600, seed=4), random_rows(400, seed=5)


def pipeline_with(**training: object) -> Pipeline:
    return small_pipeline(training={"epochs": EPOCHS, "batch_size": BATCH} | training)


def loaded(pipeline: Pipeline, fitted: Fitted) -> Loaded:
    """A fitted model as the next fit takes it up."""
    weights = {name: value.clone() for name, value in fitted.model.state_dict().items()}
    return Loaded(small_card(pipeline), weights, optimizer=fitted.history.optimizer)


def first_fit(pipeline: Pipeline) -> Loaded:
    rows = in_memory(pipeline, FIRST)
    return loaded(pipeline, fit_rows(pipeline, small_card(pipeline), rows, None))


def second_fit(pipeline: Pipeline, parent: Loaded) -> Fitted:
    return fit_rows(pipeline, small_card(pipeline), in_memory(pipeline, SECOND), parent)


def without_state(parent: Loaded) -> Loaded:
    return Loaded(parent.card, parent.weights)


def same(one: Fitted, other: Fitted) -> bool:
    mine, theirs = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def steps(state: OptimizerState | None) -> set[float]:
    assert state is not None
    return {float(value) for key, value in state.tensors.items() if key.startswith("step/")}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What has been said of the optimizer, each once: pytest may listen too."""
    logger = logging.getLogger("tenforward")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, logger="tenforward"):
        yield lambda: list(dict.fromkeys(text for text in caplog.messages if "optimizer" in text))
    logger.removeHandler(caplog.handler)


# --- two fits are one optimizer's steps ---


@one_thread()
def plainly(model: nn.Module, optimizer: torch.optim.Optimizer, rows: Rows, of: Training) -> None:
    """The steps of a fit as anyone would write them, with an optimizer that is kept alive."""
    whole = sample_of(rows)
    for epoch in range(EPOCHS):
        batches = list(whole.epoch(epoch, of, Ranks(), 0))
        for number, batch in enumerate(batches):
            done = (epoch + number / len(batches)) / EPOCHS
            for group in optimizer.param_groups:
                group["lr"] = of.learning_rate * cosine(done)
            output, _ = model(*batch.inputs)
            loss = nn.functional.binary_cross_entropy_with_logits(output[:, 0], batch.label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_two_fits_make_the_steps_of_one_optimizer_that_is_kept_alive(name: str) -> None:
    pipeline = pipeline_with(optimizer=name)
    settings = pipeline.training
    parent = first_fit(pipeline)
    went_on = second_fit(pipeline, parent).model
    begun_afresh = second_fit(pipeline, without_state(parent)).model

    model = build_model(small_card(pipeline), settings.seed)
    for buffer in ("mean", "scale"):
        model.get_buffer(buffer).copy_(parent.weights[buffer])
    kept = {
        "adamw": lambda: torch.optim.AdamW(
            model.parameters(), weight_decay=settings.weight_decay, fused=False
        ),
        "sgd": lambda: torch.optim.SGD(
            model.parameters(), weight_decay=settings.weight_decay, momentum=settings.momentum
        ),
    }[name]()
    plainly(model, kept, in_memory(pipeline, FIRST), settings)
    model.get_buffer("intercept").copy_(parent.weights["intercept"])  # settled after the steps
    plainly(model, kept, in_memory(pipeline, SECOND), settings)

    apart = 0.0
    for key, value in model.named_parameters():
        # Another kernel, and the mean in another order of its sum: no more than rounding.
        torch.testing.assert_close(went_on.get_parameter(key), value, rtol=1e-4, atol=2e-6)
        apart = max(apart, float((begun_afresh.get_parameter(key) - value).detach().abs().max()))
    assert apart > 1e-3


def test_a_fit_leaves_the_steps_of_all_fits_before() -> None:
    pipeline = pipeline_with()
    parent = first_fit(pipeline)
    assert steps(parent.optimizer) == {24}
    assert steps(second_fit(pipeline, parent).history.optimizer) == {24 + 16}
    assert steps(second_fit(pipeline, without_state(parent)).history.optimizer) == {16}


def test_fits_from_one_parent_do_not_touch_its_state() -> None:
    pipeline = pipeline_with()
    parent = first_fit(pipeline)
    assert parent.optimizer is not None
    before = {key: value.clone() for key, value in parent.optimizer.tensors.items()}
    one, other = second_fit(pipeline, parent), second_fit(pipeline, parent)
    assert same(one, other)
    assert all(torch.equal(before[key], value) for key, value in parent.optimizer.tensors.items())


def test_every_optimizer_says_what_it_keeps() -> None:
    choices = get_args(Training.model_fields["optimizer"].annotation)
    assert set(KEPT) == set(OPTIMIZERS) == set(choices)
    for name, kept in KEPT.items():
        state = first_fit(pipeline_with(optimizer=name)).optimizer
        assert state is not None
        assert {key.split("/")[0] for key in state.tensors} == set(kept)


# --- where it begins afresh ---


def test_without_a_state_a_fit_begins_afresh_and_says_so(log: Callable[[], list[str]]) -> None:
    pipeline = pipeline_with()
    fitted = second_fit(pipeline, without_state(first_fit(pipeline)))
    assert log() == ["the optimizer begins afresh: the parent has no state"]
    assert steps(fitted.history.optimizer) == {16}


def changed(state: OptimizerState, case: str) -> OptimizerState:
    tensors = dict(state.tensors)
    key = next(key for key in tensors if key.startswith("exp_avg_sq/"))
    change: dict[str, Tensor] = {
        "is not finite": torch.full_like(tensors[key], torch.inf),
        "has the shape (3,)": torch.ones(3),
    }
    if case in change:
        tensors[key] = change[case]
    else:
        del tensors[key]
    return OptimizerState(state.optimizer, tensors)


@pytest.mark.parametrize("case", ["is not finite", "has the shape (3,)", "the state has no exp_"])
def test_a_state_that_does_not_fit_is_not_used_in_part(
    case: str, log: Callable[[], list[str]]
) -> None:
    pipeline = pipeline_with()
    parent = first_fit(pipeline)
    assert parent.optimizer is not None
    broken = Loaded(parent.card, parent.weights, optimizer=changed(parent.optimizer, case))
    assert same(second_fit(pipeline, broken), second_fit(pipeline, without_state(parent)))
    assert "the optimizer begins afresh: " in log()[0]
    assert case in log()[0]


def test_another_optimizer_begins_afresh_and_says_so(log: Callable[[], list[str]]) -> None:
    parent, sgd = first_fit(pipeline_with()), pipeline_with(optimizer="sgd")
    assert same(second_fit(sgd, parent), second_fit(sgd, without_state(parent)))
    told = "the state is of 'adamw', training.optimizer = 'sgd'"
    assert log()[0] == f"the optimizer begins afresh: {told}"


def test_switched_off_it_begins_afresh_without_a_word(log: Callable[[], list[str]]) -> None:
    pipeline, off = pipeline_with(), pipeline_with(carry_optimizer=False)
    parent = first_fit(pipeline)
    assert same(second_fit(off, parent), second_fit(off, without_state(parent)))
    assert not same(second_fit(off, parent), second_fit(pipeline, parent))
    assert log() == []
    assert off.training.decides() != pipeline.training.decides()


# --- in a bundle ---


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    parent = first_fit(pipeline_with())
    save_bundle(parent.model(), parent.card, folder, parent.optimizer)
    return folder


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def test_the_state_comes_back_bit_by_bit(bundle: Path) -> None:
    left, back = first_fit(pipeline_with()).optimizer, load_bundle(bundle).optimizer
    assert left is not None
    assert back is not None
    assert (back.optimizer, back.tensors.keys()) == ("adamw", left.tensors.keys())
    for key, value in left.tensors.items():
        assert back.tensors[key].dtype == value.dtype
        assert torch.equal(back.tensors[key], value)


def test_a_fit_from_a_bundle_is_the_fit_from_memory(bundle: Path) -> None:
    pipeline = pipeline_with()
    from_memory = second_fit(pipeline, first_fit(pipeline))
    assert same(second_fit(pipeline, load_bundle(bundle)), from_memory)


def test_a_bundle_may_lack_it(copied: Path) -> None:
    (copied / OPTIMIZER).unlink()
    assert load_bundle(copied).optimizer is None


def test_a_file_that_cannot_be_read_is_left_aside(
    copied: Path, log: Callable[[], list[str]]
) -> None:
    (copied / OPTIMIZER).write_bytes(b"not a state")
    assert load_bundle(copied).optimizer is None
    assert "optimizer.safetensors: left aside, it cannot be read" in log()[0]


def test_serving_does_not_open_it(bundle: Path, copied: Path) -> None:
    (copied / OPTIMIZER).unlink()
    (copied / OPTIMIZER).mkdir()  # whoever opens it fails
    scores = [load_scorer(folder).score(SECOND).prediction for folder in (bundle, copied)]
    np.testing.assert_array_equal(*scores)


# --- in the product ---


@pytest.fixture
def warehouse(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two refreshes, of 600 and of 400 rows."""
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), tmp_path / "mlflow.db")
    write_refresh(tmp_path, pipeline_with(), "first", FIRST, day=1)
    write_refresh(tmp_path, pipeline_with(), "second", SECOND, day=2)
    return tmp_path


def trained_steps(warehouse: Path, pipeline: Pipeline, refresh: str) -> set[float]:
    """Steps behind the optimizer of the version that `train` registers."""
    version = train_refresh(pipeline, str(warehouse), refresh)["version"]
    registry = open_registry(str(warehouse), "small", "small")
    entry = registry.client.get_model_version("small", version)
    return steps(load_bundle(registry.folder(entry)).optimizer)


def test_train_goes_on_from_the_champion_and_a_scratch_begins_afresh(warehouse: Path) -> None:
    scratch = pipeline_with(warm_start=False)
    assert trained_steps(warehouse, pipeline_with(), "first") == {24}
    assert trained_steps(warehouse, scratch, "second") == {16}
    rolled_back = open_registry(str(warehouse), "small", "small")
    rolled_back.client.set_registered_model_alias("small", "champion", "1")
    write_refresh(warehouse, pipeline_with(), "third", SECOND, day=3)
    assert trained_steps(warehouse, pipeline_with(), "third") == {24 + 16}


def test_every_pull_that_is_tried_begins_with_the_parents_state(warehouse: Path) -> None:
    pulls = small_pipeline(
        training={"epochs": EPOCHS, "batch_size": BATCH, "pulls": [0.0, 0.01, 1000.0]},
        selection={"forward_days": 1},
    )
    held = random_rows(400, seed=97) | {"forward": np.arange(400) >= 200}
    write_refresh(warehouse, pulls, "later", SECOND, held, day=3)
    assert trained_steps(warehouse, pipeline_with(), "first") == {24}
    assert trained_steps(warehouse, pulls, "later") == {24 + 16}
