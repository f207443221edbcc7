"""The models by name, and a model of one's own: what they take, give, learn and refuse."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import Tensor, nn

from inference.scorer import load_scorer
from schemas.bundle import Blueprint
from schemas.errors import ConfigurationError, DataQualityError
from schemas.inputs import ModelInput, stack_inputs
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.sources.digits import digits
from tests.helpers.trainer_tables import Columns, in_memory, random_rows, small_card, small_pipeline
from trainer.data.reader import Rows
from trainer.data.survey import survey_of
from trainer.fitting.fit import fit
from trainer.models.export import Loaded, predict, require_exportable, save_bundle
from trainer.models.model import SketchedNetwork, build_model, standardise
from trainer.models.networks import orthonormal
from trainer.promotion.evaluate import evaluate

HERE = "test_models"  # this file, as the factories below are found
FLAT = {"learning_rate": 0.05, "weight_decay": 0.0, "epochs": 150, "batch_size": 2000}


def own(factory: str, layer: str = "body", **settings: Any) -> dict[str, Any]:
    return {"name": f"{HERE}:{factory}", "sketch_layer": layer, "settings": settings}


def trained(pipeline: Pipeline, rows: Columns, outputs: int = 1) -> tuple[SketchedNetwork, Rows]:
    model = build_model(small_card(pipeline, outputs), pipeline.training.seed)
    data = in_memory(pipeline, rows)
    standardise(model, survey_of([data], pipeline.task))
    fit(model, data, pipeline.task, pipeline.training)
    return model, data


# Linear models.


def indicators(rows: Columns) -> np.ndarray:
    """Numbers, then an indicator for each code: what a linear model sees."""
    numbers = np.stack([(rows[n] - rows[n].mean()) / rows[n].std() for n in ("price", "age")], 1)
    return np.concatenate([numbers, np.eye(32)[rows["shop"]], np.eye(8)[rows["slot"]]], axis=1)


def test_linear_regression_is_least_squares() -> None:
    rows = random_rows(2000, seed=8)
    rows["label"] = (rows["price"] / 20 + rows["slot"] % 3).astype(np.float32)
    training = FLAT | {"epochs": 400, "learning_rate": 0.1}
    pipeline = small_pipeline("regression", model={"name": "linear-regression"}, training=training)
    model, data = trained(pipeline, rows)
    exact = LinearRegression().fit(indicators(rows), rows["label"]).predict(indicators(rows))
    np.testing.assert_allclose(predict(model, data)[:, 0], exact, atol=0.05)


@pytest.mark.parametrize(("task", "outputs"), [("binary", 1), ("multiclass", 3)])
def test_logistic_regression_is_what_scikit_learn_fits(task: str, outputs: int) -> None:
    rows = random_rows(2000, seed=9)
    if outputs > 1:
        chances = np.random.default_rng(9).random(2000)
        rows["label"] = (chances * (1 + rows["slot"] / 4)).astype(np.float32).clip(0, 2).round()
    pipeline = small_pipeline(task, model={"name": "logistic-regression"}, training=FLAT)
    model, data = trained(pipeline, rows, outputs)
    exact = LogisticRegression(C=np.inf, max_iter=500).fit(indicators(rows), rows["label"])
    label, found = rows["label"], predict(model, data)
    answer = found if outputs > 1 else found[:, 0]
    wanted = exact.decision_function(indicators(rows))
    least = evaluate(task, wanted, label)["loss"]  # type: ignore[arg-type]
    assert evaluate(task, answer, label)["loss"] == pytest.approx(least, abs=2e-3)  # type: ignore[arg-type]


def test_the_sketch_of_a_linear_model_is_a_fixed_projection_of_its_inputs() -> None:
    pipeline = small_pipeline(model={"name": "logistic-regression"})
    model = build_model(small_card(pipeline), seed=1)
    codes, numbers = torch.tensor([[3, 1], [5, 2], [3, 1]]), torch.randn(3, 2)
    with torch.no_grad():
        _, sketch = model(codes, numbers)
        _, doubled = model(codes, 2 * numbers)
        _, still = model(codes, 0 * numbers)
        model.network.head.weight.fill_(7.0)  # type: ignore[union-attr, operator]
        _, after = model(codes, numbers)
    assert sketch.shape == (3, 16)
    torch.testing.assert_close(doubled - still, 2 * (sketch - still))
    torch.testing.assert_close(still[0], still[2])
    torch.testing.assert_close(after, sketch)
    torch.testing.assert_close(still.norm(dim=1).mean(), torch.tensor(2.0).sqrt(), atol=0.6, rtol=0)


# Images.


def image_pipeline(**model: Any) -> Pipeline:
    changes: dict[str, Any] = {"source": "digits", "features.image.shape": [1, 8, 8]}
    changes |= {"training.epochs": 20} | {f"model.{key}": value for key, value in model.items()}
    return load_pipeline("pipelines/mnist.toml", changes)


def image_rows() -> Columns:
    tables = digits()
    images = np.stack(tables["instances"]["image"])
    return {"image": images, "label": tables["labels"]["digit"].to_numpy(np.float32)}


def test_a_convolutional_net_learns_real_digits() -> None:
    rows = image_rows()
    pipeline = image_pipeline(channels=[8, 16], hidden=[32])
    model, _ = trained(pipeline, {n: column[:1500] for n, column in rows.items()}, outputs=10)
    rest = in_memory(pipeline, {n: column[1500:] for n, column in rows.items()})
    metrics = evaluate("multiclass", predict(model, rest), rest.label)
    assert metrics["accuracy"] > 0.85
    assert 0 < metrics["calibration_error"] < 0.2


def test_pixels_are_standardised_together_and_the_scorer_equals_the_model(tmp_path: Path) -> None:
    rows = {n: column[:300] for n, column in image_rows().items()}
    pipeline = image_pipeline(channels=[4], hidden=[8])
    model = build_model(small_card(pipeline, 10), seed=1)
    data = in_memory(pipeline, rows)
    standardise(model, survey_of([data], "multiclass"))
    assert model.tensor_mean[0] == pytest.approx(rows["image"].mean(), rel=1e-5)
    assert model.tensor_scale[0] == pytest.approx(rows["image"].std(), rel=1e-5)
    save_bundle(model, small_card(pipeline, 10), tmp_path)
    scored = load_scorer(tmp_path).score(rows)
    np.testing.assert_allclose(scored.prediction, predict(model, data), atol=1e-5)
    assert scored.sketch.shape == (300, 8)


def test_a_tensor_of_another_size_names_the_feature() -> None:
    feature = ModelInput(name="image", kind="tensor", shape=(1, 8, 8))
    assert stack_inputs([feature], {"image": np.zeros((3, 64))})[2].shape == (3, 1, 8, 8)
    with pytest.raises(DataQualityError, match=r"features\.image: 63 numbers a row, .*\[1, 8, 8\]"):
        stack_inputs([feature], {"image": np.zeros((3, 63))})


# Settings.

REFUSED = {
    "a setting of another model": (
        {"model": {"name": "logistic-regression", "hidden": [8]}},
        "hidden: not a setting of 'logistic-regression', which has none",
    ),
    "channels without images": (
        {"model": {"channels": [8]}},
        "channels: not a setting of 'embedding-mlp', which has hidden",
    ),
    "a model that there is not": (
        {"model": {"name": "transformer"}},
        "'transformer' is none of embedding-mlp, convolutional",
    ),
    "a convolution without an image": (
        {"model": {"name": "convolutional"}},
        "needs one tensor feature of shape",
    ),
    "a model of one's own without a layer": (
        {"model": {"name": "mine:network"}},
        "sketch_layer: missing",
    ),
    "hidden layers of a model of one's own": (
        {"model": own("network") | {"hidden": [8]}},
        "hidden: not a setting of 'test_models:network', which has sketch_layer, settings",
    ),
    "a width of nothing": ({"model": {"hidden": [8, 0]}}, "a width of 0"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_settings_that_do_not_fit_are_refused_by_name(case: str) -> None:
    sections, words = REFUSED[case]
    with pytest.raises(ValidationError, match=words.replace("(", r"\(")):
        small_pipeline(**sections)


def test_a_model_for_another_task_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"model\.name: 'logistic-regression' is for binary"):
        small_pipeline("regression", model={"name": "logistic-regression"})
    with pytest.raises(ValidationError, match=r"'linear-regression' is for regression tasks"):
        small_pipeline("multiclass", model={"name": "linear-regression"})


def test_a_model_decides_no_sample() -> None:
    other = small_pipeline(model={"hidden": [4]})
    assert other.selection_digest() == small_pipeline().selection_digest()


# A model of one's own.


class Twice(nn.Module):
    """Gives a pair."""

    def forward(self, layer: Tensor) -> tuple[Tensor, Tensor]:
        return layer, layer


class Network(nn.Module):
    """A plain module: outputs alone, no word of a sketch."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        width = int(blueprint.settings.get("width", 20))
        self.body = nn.Sequential(nn.Linear(2, width), nn.Tanh())
        self.twice = Twice()
        self.head = nn.Linear(width, blueprint.outputs)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        one, other = self.twice(self.body(numbers))
        output: Tensor = self.head(one + other)
        return output


class Branching(Network):
    """Looks at values to decide what to do, which no program can."""

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        output = super().forward(categories, numbers)
        return output if output.sum() > 0 else -output


class TwoOutputs(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        output = super().forward(categories, numbers)
        return torch.cat([output, output], dim=1)


def network(blueprint: Blueprint) -> nn.Module:
    return Network(blueprint)


def branching(blueprint: Blueprint) -> nn.Module:
    return Branching(blueprint)


def two_outputs(blueprint: Blueprint) -> nn.Module:
    return TwoOutputs(blueprint)


def no_network(blueprint: Blueprint) -> str:
    return "a string"


def test_a_plain_module_gets_its_sketch_from_the_layer_that_is_named(tmp_path: Path) -> None:
    pipeline = small_pipeline(model=own("network", width=24))
    card = small_card(pipeline)
    assert (card.architecture, card.settings) == ("test_models:network", {"width": 24})
    rows = random_rows(300, seed=3)
    model, data = trained(pipeline, rows)
    numbers = torch.from_numpy(data.numbers)
    standard = ((numbers - model.mean) / model.scale).clamp(-8, 8)
    with torch.no_grad():
        layer = model.network.body(standard)  # type: ignore[operator, union-attr]
    save_bundle(model, card, tmp_path)
    scored = load_scorer(tmp_path).score(rows)
    np.testing.assert_allclose(scored.sketch, (layer @ orthonormal(24)).numpy(), atol=1e-5)
    np.testing.assert_allclose(scored.prediction, predict(model, data)[:, 0], atol=1e-5)


FAULTS = {
    "no module": ({"name": "nowhere.to_be:found"}, "No module named 'nowhere'"),
    "no function": (own("absent"), "module test_models has no function 'absent'"),
    "no network": (own("no_network"), "gave a str"),
    "no layer": (own("network", "encoder"), "no such layer. Remedy: name one of body"),
    "a layer that gives a tuple": (own("network", "twice"), "gave tuple for two rows"),
    "outputs too many": (own("two_outputs"), r"gave (2, 2) for two rows, .* shape (2, 1)"),
}


@pytest.mark.parametrize("case", list(FAULTS))
def test_a_factory_that_breaks_the_contract_is_told_how(case: str) -> None:
    model, words = FAULTS[case]
    pipeline = small_pipeline(model={"sketch_layer": "body", **model})
    with pytest.raises(ConfigurationError, match=words.replace("(", r"\(").replace(")", r"\)")):
        small_card(pipeline)


def test_a_model_that_cannot_be_exported_is_refused_before_it_is_fitted() -> None:
    card = small_card(small_pipeline(model=own("branching")))
    with pytest.raises(ConfigurationError, match="branching': cannot be exported"):
        require_exportable(build_model(card, seed=1), card)


def test_a_warm_start_needs_weights_of_the_same_names_and_shapes() -> None:
    card = small_card(small_pipeline(model=own("network")))
    parent = Loaded(card, build_model(card, seed=1).state_dict())
    assert parent.fits(card)
    assert not parent.fits(card.model_copy(update={"settings": {"width": 21}}))
    earlier = {name: value for name, value in parent.weights.items() if "body" not in name}
    assert not Loaded(card, earlier).fits(card)  # the same names, another code then
