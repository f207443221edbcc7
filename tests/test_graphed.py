"""A step as a CUDA graph is the step kernel by kernel. Where there is no GPU nothing is shown."""

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from schemas.bundle import Blueprint
from tests.helpers.trainer_tables import in_memory, random_rows, small_card, small_pipeline
from trainer.data.survey import survey_of
from trainer.fitting import graphed
from trainer.fitting.fit import fit
from trainer.fitting.graphed import TRIED_STEPS, WARM_STEPS, Graphed
from trainer.models.model import build_model, standardise

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
ROWS = random_rows(1010, seed=4)  # a last batch of two


class Answering(nn.Module):
    """A network of one's own: dropout, and a question that the device is asked in mid-step."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8, blueprint.outputs)
        self.asks = bool(blueprint.settings["asks"])

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        output: Tensor = self.head(self.layers(numbers))
        return output * 2 if self.asks and output.sum().item() > 1e9 else output


def network(blueprint: Blueprint) -> nn.Module:
    """The factory that `model.name` names."""
    return Answering(blueprint)


def own(asks: bool) -> dict[str, object]:
    return {
        "name": f"{__name__}:network",
        "sketch_layer": "layers",
        "settings": {"asks": asks},
    }


def fitted(
    settings: dict[str, object],
    choose: Callable[[Graphed, float, float], None],
    monkeypatch: pytest.MonkeyPatch,
    model: dict[str, object] | None = None,
) -> dict[str, Tensor]:
    """The weights after three epochs of 64 steps, where `choose` says which way is the faster."""
    training = {"batch_size": 16, "epochs": 3, **settings}
    pipeline = small_pipeline(training=training, **({"model": model} if model else {}))
    data = in_memory(pipeline, ROWS)
    built = build_model(small_card(pipeline), 7)
    standardise(built, survey_of([data], pipeline.task))
    monkeypatch.setattr(Graphed, "_choose", choose)
    fit(built, data, pipeline.task, pipeline.training, pulled="pull" in settings)
    return built.state_dict()


def graphs(self: Graphed, one_by_one: float, recorded: float) -> None:
    assert self.taken == WARM_STEPS + 2 * TRIED_STEPS
    assert self.recorded is not None
    self.tries = False


def none(self: Graphed, one_by_one: float, recorded: float) -> None:
    self.tries, self.recorded = False, None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "learning_rate": 0.05},
        {"precision": "bf16", "clip": 0.5},
        {"pull": 0.1, "weight_decay": 0.01},
    ],
    ids=["adamw", "sgd", "bf16 and clipped", "pulled"],
)
def test_a_fit_in_graphs_ends_where_one_kernel_by_kernel_ends(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fitted(settings, graphs, monkeypatch)
    monkeypatch.setattr(graphed, "WARM_STEPS", 10**9)
    other = fitted(settings, none, monkeypatch)
    for name, value in other.items():
        torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_dropout_draws_alike_in_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    one = fitted({}, graphs, monkeypatch, own(asks=False))
    monkeypatch.setattr(graphed, "WARM_STEPS", 10**9)
    other = fitted({}, none, monkeypatch, own(asks=False))
    for name, value in other.items():
        torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_model_that_asks_the_device_goes_on_without_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tenforward")
    one = fitted({}, none, monkeypatch, own(asks=True))
    assert "cannot be a CUDA graph" in caplog.text
    monkeypatch.setattr(graphed, "WARM_STEPS", 10**9)
    other = fitted({}, none, monkeypatch, own(asks=True))
    for name, value in other.items():
        torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_the_faster_way_is_kept() -> None:
    for recorded, kept in ((1.0, True), (3.0, False)):
        step = Graphed(lambda given, divisor: given.label, None, torch.device("cuda"))  # type: ignore[arg-type]
        step.recorded = object()  # type: ignore[assignment]
        step._choose(2.0, recorded)
        assert (step.recorded is not None, step.tries) == (kept, False)
