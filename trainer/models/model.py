"""The models, by name: what is trained, exported and warm-started.

A model is built from a blueprint alone. It maps the inputs of `schemas.bundle.stack_inputs` to
(output float32 (n, outputs), sketch float32 (n, sketch_width)).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from schemas.bundle import Blueprint, ModelCard
from schemas.encoding import Encoding, encoding_of
from schemas.errors import ConfigurationError
from schemas.inputs import model_inputs
from schemas.pipeline import Pipeline
from schemas.sections.model import DEFAULT_MODEL
from trainer.data.survey import Survey
from trainer.models.networks import Convolutional, EmbeddingMLP, Linear, orthonormal
from trainer.models.own_model import failed, own_network

FAR = 8.0  # standardised numbers beyond this are taken as this


class BuiltIn(NamedTuple):
    """A network's class, and the name of the layer whose output is sketched."""

    network: Callable[[Blueprint], nn.Module]
    sketch_layer: str


# Their settings stand in schemas/sections/model.py.
MODELS: dict[str, BuiltIn] = {
    DEFAULT_MODEL: BuiltIn(EmbeddingMLP, "layers"),
    "convolutional": BuiltIn(Convolutional, "layers"),
    "logistic-regression": BuiltIn(Linear, "inputs"),
    "linear-regression": BuiltIn(Linear, "inputs"),
}


class LastOutput:
    """What the sketched layer gave last."""

    value: Any = None

    def take(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """A forward hook."""
        self.value = output


class SketchedNetwork(nn.Module):
    """A network with what every model has: standardised inputs, an intercept, the sketch of one
    layer."""

    def __init__(self, network: nn.Module, sketch_layer: str, blueprint: Blueprint) -> None:
        """Raises ConfigurationError where the network does not give what the contract asks."""
        super().__init__()
        self.network = network
        self._last = LastOutput()
        _layer(network, sketch_layer).register_forward_hook(self._last.take)
        # Set once at the end of each fit (trainer/fitting/intercept.py).
        self.intercept: Tensor
        self.register_buffer("intercept", torch.zeros(blueprint.outputs))
        # Fixed: set once from the first training set, then inherited by warm starts.
        self.mean: Tensor
        self.scale: Tensor
        self.tensor_mean: Tensor
        self.tensor_scale: Tensor
        self.projection: Tensor
        self.register_buffer("mean", torch.zeros(len(blueprint.names("number"))))
        self.register_buffer("scale", torch.ones(len(blueprint.names("number"))))
        self.register_buffer("tensor_mean", torch.zeros(len(blueprint.shapes)))
        self.register_buffer("tensor_scale", torch.ones(len(blueprint.shapes)))
        width = _sketched_width(network, self._last, sketch_layer, blueprint)
        self.register_buffer("projection", orthonormal(width))

    def forward(
        self, categories: Tensor, numbers: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(output (n, outputs), sketch (n, width)); the sketch projects the layer's output."""
        scaled = [
            ((tensor - self.tensor_mean[i]) / self.tensor_scale[i]).clamp(-FAR, FAR)
            for i, tensor in enumerate(tensors)
        ]
        standard = ((numbers - self.mean) / self.scale).clamp(-FAR, FAR)
        output = self.network(categories, standard, *scaled) + self.intercept
        # Kept, it would keep the step's whole graph of gradients until the next one.
        sketched, self._last.value = self._last.value, None
        return output, sketched.flatten(1) @ self.projection


def build_model(blueprint: Blueprint, seed: int) -> SketchedNetwork:
    """A fresh model; its weights are a function of (blueprint, seed)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if ":" in blueprint.architecture:
            return SketchedNetwork(own_network(blueprint), blueprint.sketch_layer or "", blueprint)
        if blueprint.architecture not in MODELS:
            known = ", ".join(MODELS)
            raise ConfigurationError(
                f"architecture = {blueprint.architecture!r}: unknown. Remedy: choose {known}."
            )
        built_in = MODELS[blueprint.architecture]
        return SketchedNetwork(built_in.network(blueprint), built_in.sketch_layer, blueprint)


def model_card(
    pipeline: Pipeline, refresh_id: str, outputs: int, encoding: Encoding | None = None
) -> ModelCard:
    """The card of the pipeline's model, trained from scratch on a refresh, whose rows were encoded
    by `encoding`; None: as the pipeline says."""
    encoding = encoding or encoding_of(pipeline)
    blueprint = Blueprint(
        task=pipeline.task,
        architecture=pipeline.model.name,
        settings=pipeline.model.resolved(),
        sketch_layer=pipeline.model.sketch_layer,
        features=model_inputs(pipeline),
        outputs=outputs,
    )
    return ModelCard(
        **blueprint.model_dump(),
        pipeline=pipeline.name,
        sketch_width=build_model(blueprint, seed=0).projection.shape[1],
        refresh_id=refresh_id,
        encoding=encoding.only(list(pipeline.features)),
    )


def standardise(model: nn.Module, survey: Survey) -> None:
    """Set the model's fixed means and scales from the sample's moments."""
    if survey.weight <= 0:
        return
    if survey.numbers.mean.size:
        model.get_buffer("mean").copy_(torch.from_numpy(survey.numbers.mean))
        model.get_buffer("scale").copy_(torch.from_numpy(survey.numbers.scale))
    for place, moments in enumerate(survey.tensors):
        model.get_buffer("tensor_mean")[place] = float(moments.mean[0])
        model.get_buffer("tensor_scale")[place] = float(moments.scale[0])


def example_inputs(blueprint: Blueprint, rows: int = 2) -> tuple[Tensor, ...]:
    """Rows of zeros in the form of the model's inputs."""
    return (
        torch.zeros((rows, len(blueprint.buckets)), dtype=torch.int64),
        torch.zeros((rows, len(blueprint.names("number")))),
        *(torch.zeros((rows, *shape)) for shape in blueprint.shapes),
    )


def _layer(network: nn.Module, name: str) -> nn.Module:
    named = dict(network.named_modules())
    if name not in named or name == "":
        known = ", ".join(list(named)[1:]) or "none"
        raise ConfigurationError(
            f"model.sketch_layer = {name!r}: no such layer. Remedy: name one of {known}."
        )
    return named[name]


def _sketched_width(network: nn.Module, last: LastOutput, layer: str, blueprint: Blueprint) -> int:
    """Width of the layer's output, from a forward pass of two rows that checks the contract too."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            output = network(*example_inputs(blueprint))
    except Exception as error:
        if ":" not in blueprint.architecture:
            raise
        what, remedy = "its forward pass of two rows failed", "take what docs/models.md says"
        raise failed(what, error, blueprint.architecture, remedy) from error
    network.train(training)
    wanted = (2, blueprint.outputs)
    if not isinstance(output, Tensor) or tuple(output.shape) != wanted:
        given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigurationError(
            f"model.name = {blueprint.architecture!r}: gave {given} for two rows, a tensor of shape"
            f" {wanted} is wanted. Remedy: return outputs (n, {blueprint.outputs})."
        )
    hidden = last.value
    if not isinstance(hidden, Tensor) or hidden.ndim < 2 or hidden.shape[0] != 2:
        given = tuple(hidden.shape) if isinstance(hidden, Tensor) else type(hidden).__name__
        raise ConfigurationError(
            f"model.sketch_layer = {layer!r}: gave {given} for two rows. Remedy: name a layer that"
            " runs in every forward pass and returns one tensor (n, ...)."
        )
    return hidden.flatten(1).shape[1]
