"""Writes a bundle: the exported program, the card, the weights, the state of the optimizer. Reads
one back for a warm start."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from inference.graph import SuspectError
from inference.program import load_program, rewritten
from schemas.bundle import CARD, OPTIMIZER, PROGRAM, WEIGHTS, ModelCard, read_card
from schemas.errors import ConfigurationError
from trainer.data.reader import Rows
from trainer.models.model import build_model, example_inputs
from trainer.models.optimizer_state import OptimizerState
from trainer.processes.threads import one_thread

PREDICTED_AT_ONCE = 1 << 13  # rows


def save_bundle(
    model: nn.Module, card: ModelCard, folder: Path, optimizer: OptimizerState | None = None
) -> None:
    """Write the files of a bundle into an existing folder; the model is on the CPU."""
    torch.export.save(export_program(model, card), folder / PROGRAM)
    (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    save_weights(model, folder)
    if optimizer is not None:
        optimizer.save(folder / OPTIMIZER)


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write parameters and buffers into the folder of a bundle."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS)


def require_exportable(model: nn.Module, card: ModelCard) -> bytes:
    """The program of a model that can be scored; one that cannot is refused before it is fitted.

    Raises ConfigurationError.
    """
    content = io.BytesIO()
    try:
        torch.export.save(export_program(model, card), content)
    except Exception as error:
        raise ConfigurationError(
            f"model.name = {card.architecture!r}: cannot be exported by torch.export: {error}."
            " Remedy: write its forward pass without branches on values, for any number of rows."
        ) from error
    try:
        return rewritten(content.getvalue())
    except SuspectError as reason:
        raise ConfigurationError(
            f"model.name = {card.architecture!r}: its program would be refused, {reason}. Remedy:"
            " use the operations of torch itself (ATen), and no constants but buffers."
        ) from reason


def export_program(model: nn.Module, card: ModelCard) -> torch.export.ExportedProgram:
    """The program of a module for any number of rows. Not strict: four times faster, and nothing in
    a model of ours depends on Python state that only the strict tracer would notice."""
    rows = torch.export.Dim("rows", min=1)
    example = example_inputs(card)
    tensors = tuple({0: rows} for _ in card.shapes)  # one argument, of any number of parts
    shapes = ({0: rows}, {0: rows}, *([tensors] if tensors else []))
    was_training = model.training
    try:
        return torch.export.export(model.eval(), example, dynamic_shapes=shapes, strict=False)
    finally:
        model.train(was_training)


@dataclass(frozen=True)
class Loaded:
    """A registered model as the trainer takes it up again."""

    card: ModelCard
    weights: dict[str, Tensor]
    version: str | None = None  # in the registry
    optimizer: OptimizerState | None = None  # None: the next fit begins with a fresh one

    def fits(self, card: ModelCard) -> bool:
        """Whether a model of this card can start with these weights."""
        return self.unfit(card) is None

    def unfit(self, card: ModelCard) -> str | None:
        """Why a model of this card cannot start with these weights; None where it can. Of the same
        blueprint it may still not: a factory may have changed since they were learnt."""
        own, other = self.card, card
        if own.encoding is not None and other.encoding is not None:
            differences = own.encoding.differences(other.encoding)
            if differences:
                return f"its features differ ({', '.join(differences)})"
        if own.features != other.features:
            return "its features differ in order or buckets"
        if not own.same_shape(other):
            was, now = (_in_words(one) for one in (own, other))
            return f"it is another network ({was}, now {now})"
        built = build_model(card, seed=0).state_dict()
        shapes = {name: value.shape for name, value in built.items()}
        if shapes != {name: value.shape for name, value in self.weights.items()}:
            return "its layers are of other shapes"
        return None

    def model(self) -> nn.Module:
        """The model itself, on the CPU."""
        model = build_model(self.card, seed=0)
        model.load_state_dict(self.weights)
        return model.eval()


def _in_words(card: ModelCard) -> str:
    own = ", ".join(f"{name} = {value}" for name, value in card.settings.items())
    return f"{card.architecture} of {own or 'no settings'}"


def load_bundle(folder: Path, version: str | None = None) -> Loaded:
    """The card, the weights (parameters and buffers by name) and the optimizer's state of a
    version's bundle. Raises ConfigurationError where they cannot be read."""
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(
            f"{folder / WEIGHTS}: not the weights of a model ({error}). Remedy: move the alias to a"
            " version that is whole, or train without training.warm_start."
        ) from error
    optimizer = OptimizerState.load(folder / OPTIMIZER)
    return Loaded(read_card(folder), weights, version, optimizer)


def serving_model(folder: Path) -> nn.Module:
    """What answers in production: a bundle's program. A user's factory may have changed since."""
    return load_program(folder / PROGRAM)


@one_thread()
def predict(model: nn.Module, rows: Rows) -> NDArray[np.float32]:
    """Outputs (n, outputs) of a model on the CPU, for evaluation."""
    if len(rows) == 0:
        return np.zeros((0, 1), np.float32)
    with torch.inference_mode():
        parts = zip(
            *(torch.from_numpy(part).split(PREDICTED_AT_ONCE) for part in rows.inputs), strict=True
        )
        return np.concatenate([model(*part)[0].numpy() for part in parts])
