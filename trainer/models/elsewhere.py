"""A model that was trained elsewhere, a program or a bundle, made into a bundle of ours."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from inference.program import load_program
from inference.scorer import Scorer
from schemas.bundle import CARD, OPTIMIZER, PROGRAM, WEIGHTS, Blueprint, ModelCard, read_card
from schemas.encoding import Encoding
from schemas.errors import ConfigurationError
from schemas.inputs import columns_of, model_inputs
from schemas.pipeline import Pipeline
from schemas.shared_columns import SKETCH_WIDTH
from trainer.models.export import export_program
from trainer.models.model import FAR, example_inputs
from trainer.models.networks import orthonormal

ELSEWHERE = "trained-elsewhere"  # the architecture on the card of a program alone

Inputs = tuple[NDArray[Any], ...]


class Served(nn.Module):
    """A program that gives outputs alone, with the sketch that a record keeps: a fixed projection
    of the standardised numbers and of the outputs."""

    def __init__(self, program: nn.Module, numbers: NDArray[np.float32], outputs: int) -> None:
        """numbers: rows (n, m) whose moments standardise."""
        super().__init__()
        self.program = program
        self.mean: Tensor
        self.scale: Tensor
        self.projection: Tensor
        spread = numbers.std(0) if len(numbers) else np.ones(numbers.shape[1])
        mean = numbers.mean(0) if len(numbers) else np.zeros(numbers.shape[1])
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        scale = np.where(spread > 0, spread, 1.0)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("projection", orthonormal(numbers.shape[1] + outputs))

    def train(self, mode: bool = True) -> "Served":
        """A program has one mode, that in which it was exported."""
        return self

    def forward(
        self, categories: Tensor, numbers: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(output (n, outputs), sketch (n, width))."""
        output = self.program(categories, numbers, *tensors)
        output = output.reshape(numbers.shape[0], -1).to(torch.float32)
        standard = ((numbers - self.mean) / self.scale).clamp(-FAR, FAR)
        return output, torch.cat([standard, output], 1) @ self.projection


@dataclass(frozen=True)
class Foreign:
    """A model from elsewhere, ready to be judged and registered."""

    card: ModelCard
    program: nn.Module
    digest: str  # SHA-256 of the file that was given
    write: Callable[[Path], None]  # the files of its bundle, into a folder

    def answers(self, inputs: Inputs, where: Path) -> None:
        """Let it answer for rows as a scorer would. Raises ConfigurationError where it cannot."""
        columns = columns_of(self.card.features, inputs)
        try:
            Scorer(self.card, self.program).score(columns)
        except (ConfigurationError, ValueError) as error:
            said = " ".join(str(error).partition(" Remedy:")[0].split())[:500]
            raise ConfigurationError(
                f"--model = {where}: cannot answer for the held-out rows ({said}). Remedy: export"
                " it for any number of rows, taking (categories int64 (n, c), numbers float32"
                f" (n, m), then each tensor) and giving {self.card.outputs} outputs a row."
            ) from error


def open_model(
    place: Path, pipeline: Pipeline, refresh_id: str, encoding: Encoding, inputs: Inputs
) -> Foreign:
    """The model in a file or a folder.

    encoding: of the rows that a program alone was trained on, unless a card says otherwise. inputs:
    held-out rows as that encoding gives them, from which a program alone gets its sketch.

    Raises ConfigurationError where it is no program, is refused, cannot answer, or answers what no
    record of the pipeline can keep.
    """
    program = place / PROGRAM if place.is_dir() else place
    if not program.is_file():
        raise ConfigurationError(
            f"--model = {place}: no {program.name} there. Remedy: give a file of torch.export.save,"
            f" or a folder with {PROGRAM} and {CARD}."
        )
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    if place.is_dir() and (place / CARD).is_file():
        foreign = _bundle(place, pipeline, refresh_id, digest)
    else:
        foreign = _program(program, pipeline, refresh_id, encoding, inputs, digest)
    _require_recordable(place, foreign.card, pipeline)
    return foreign


def _require_recordable(place: Path, card: ModelCard, pipeline: Pipeline) -> None:
    """Refuse a model whose every record would be rejected, by the forms of its answers."""
    classes = pipeline.labels.classes
    if card.task == "multiclass" and classes is not None and card.outputs != classes:
        raise ConfigurationError(
            f"--model = {place}: gives {card.outputs} outputs a row, labels.classes = {classes} in"
            " the pipeline file. Remedy: export it with an output for each class, or correct"
            " labels.classes."
        )
    if card.sketch_width > SKETCH_WIDTH:
        raise ConfigurationError(
            f"--model = {place}: gives a sketch of {card.sketch_width} numbers, a record keeps"
            f" {SKETCH_WIDTH}. Remedy: project it, or give outputs alone."
        )


def _bundle(folder: Path, pipeline: Pipeline, refresh_id: str, digest: str) -> Foreign:
    """A whole bundle, such as another warehouse's registry holds."""
    card = read_card(folder)
    if card.task != pipeline.task:
        raise ConfigurationError(
            f"--model = {folder}: its card says task {card.task!r}, the pipeline has"
            f" {pipeline.task!r}. Remedy: give a model of this task."
        )
    encoding = card.encoding_in(pipeline)
    changed = {"pipeline": pipeline.name, "refresh_id": refresh_id, "encoding": encoding}
    card = card.model_copy(update=changed | _origin(refresh_id))
    program = load_program(folder / PROGRAM)
    contents = (folder / PROGRAM).read_bytes()
    others = {
        name: (folder / name).read_bytes()
        for name in (WEIGHTS, OPTIMIZER)
        if (folder / name).is_file()
    }

    def write(target: Path) -> None:
        (target / PROGRAM).write_bytes(contents)
        _write_beside(target, card, program)
        for name, content in others.items():
            (target / name).write_bytes(content)

    return Foreign(card, program, digest, write)


def _program(
    file: Path,
    pipeline: Pipeline,
    refresh_id: str,
    encoding: Encoding,
    inputs: Inputs,
    digest: str,
) -> Foreign:
    """An exported program alone: its inputs are the pipeline's features."""
    loaded = load_program(file)
    blueprint = Blueprint(
        task=pipeline.task,
        architecture=ELSEWHERE,
        settings={},
        features=model_inputs(pipeline),
        outputs=1,
    )
    outputs, width = _given(file, loaded, blueprint)
    blueprint = blueprint.model_copy(update={"outputs": outputs})
    served = loaded if width else Served(loaded, inputs[1], outputs)
    card = ModelCard(
        **blueprint.model_dump(),
        pipeline=pipeline.name,
        sketch_width=width or served.get_buffer("projection").shape[1],
        refresh_id=refresh_id,
        encoding=encoding.only(list(pipeline.features)),
        started=_origin(refresh_id)["started"],
    )

    def write(target: Path) -> None:
        if width:
            (target / PROGRAM).write_bytes(file.read_bytes())
        else:
            torch.export.save(export_program(served, card), target / PROGRAM)
        _write_beside(target, card, served)

    return Foreign(card, served, digest, write)


def _origin(refresh_id: str) -> dict[str, Any]:
    return {"started": f"elsewhere, on refresh {refresh_id}", "parent_version": None}


def _given(file: Path, program: nn.Module, blueprint: Blueprint) -> tuple[int, int]:
    """Outputs a row, and the width of the sketch; 0 where the program gives none.

    Raises ConfigurationError where it does not take the pipeline's features.
    """
    takes = f"categories int64 (n, {len(blueprint.buckets)}), numbers float32 (n, "
    takes += f"{len(blueprint.names('number'))})"
    takes += "".join(f", float32 {('n', *shape)}" for shape in blueprint.shapes)
    remedy = f"Remedy: export a program of ({takes}), for any number of rows."
    rows = 3  # another number than programs are usually exported with
    try:
        with torch.inference_mode():
            given = program(*example_inputs(blueprint, rows))
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise ConfigurationError(
            f"--model = {file}: does not take {rows} rows of the pipeline's features ({said})."
            f" {remedy}"
        ) from error
    output, sketch = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    alike = isinstance(output, Tensor) and output.ndim in (1, 2) and output.shape[0] == rows
    many = 0 if not alike else (1 if output.ndim == 1 else output.shape[1])
    several = blueprint.task == "multiclass"
    if (many < 2 if several else many != 1) or (sketch is not None and output.ndim != 2):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        wanted = "(n, classes)" if several else "(n,) or (n, 1)"
        raise ConfigurationError(
            f"--model = {file}: gave {shape} for {rows} rows, logits or values {wanted} are wanted."
            f" {remedy}"
        )
    return many, 0 if sketch is None else sketch.shape[1]


def _write_beside(folder: Path, card: ModelCard, program: nn.Module) -> None:
    """The card, and the program's own parameters and buffers as weights."""
    (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    state = {name: value.detach().clone() for name, value in program.state_dict().items()}
    save_file(state or {"none": torch.zeros(1)}, folder / WEIGHTS)
