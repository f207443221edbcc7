"""A model of one's own is tried before its first step: what would fail after minutes fails now.

The trial works on models that it builds itself and puts random numbers back, so the fit to come is
the same bit by bit. Its step of training has no row where the model takes none: no backward pass
is spent.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from inference.program import unpacked
from schemas.bundle import WEIGHTS
from schemas.errors import ConfigurationError, TenforwardError
from schemas.pipeline import Pipeline
from trainer.data.batches import Batch
from trainer.data.reader import Rows
from trainer.fitting.divisor import Divisor
from trainer.fitting.fit import Step
from trainer.fitting.start import Start
from trainer.models.export import require_exportable, save_weights
from trainer.models.model import build_model, example_inputs
from trainer.models.own_model import failed
from trainer.processes.ranks import Ranks
from trainer.processes.threads import one_thread

FEW = 5  # rows
BLOCK = 1024  # rows that a program answers at once when it serves

Inputs = tuple[Tensor, ...]


@one_thread()
def try_own_model(
    start: Start,
    pipeline: Pipeline,
    rows: Rows,
    drawn: int,
    ranks: Ranks,
    settings: Mapping[str, Any],
) -> None:
    """Refuse a model that could not be fitted, kept, registered or served: ConfigurationError.

    rows: some of the refresh, none of which need be there. drawn: rows of the sample. settings:
    what the run would be recorded with.
    """
    _require_recordable(settings)
    trial = _Trial(start, pipeline, rows, ranks)
    with _undisturbed(ranks.device):
        _require_sound(trial)
        _require_steady(trial, trial.model().eval())
        trained = _trained(trial)
        if narrowest(drawn, pipeline.training.batch_size, ranks.world) == 1:
            _require_one_row(trial)
        _require_kept(trial, trained)


class _Trial:
    """What is tried, and on what."""

    def __init__(self, start: Start, pipeline: Pipeline, rows: Rows, ranks: Ranks) -> None:
        self.start, self.pipeline = start, pipeline
        self.name = start.card.architecture
        self.alone = Ranks(device=ranks.device)
        few = rows.map(lambda column: column[:FEW].copy())
        inputs = tuple(map(torch.from_numpy, few.inputs))
        self.inputs: Inputs = inputs if len(few) == FEW else example_inputs(start.card, FEW)
        self.label = torch.from_numpy(few.label) if len(few) == FEW else torch.zeros(FEW)

    def model(self) -> nn.Module:
        """The model as the fit begins with it."""
        return self.start.model()

    def first(self, rows: int) -> Inputs:
        """So many rows of the few, which are repeated where there are not as many."""
        place = torch.arange(rows) % FEW
        return tuple(part[place] for part in self.inputs)

    def step(self, rows: int) -> nn.Module:
        """A model after one step on so many rows."""
        training = self.pipeline.training.model_copy(update={"compile": False})
        model, task, divisor = self.model().train(), self.pipeline.task, Divisor(FEW, 1.0)
        step = Step.of(model, task, training, self.alone, divisor, pulled=False, carried=None)
        one = torch.ones(rows)
        columns = (*self.first(rows), self.label[torch.arange(rows) % FEW], 0 * one, one)
        *inputs, label, offset, weight = (part.to(self.alone.device) for part in columns)
        step.take(Batch(tuple(inputs), label, offset, weight, rows), 0, 0.0, [])
        return model

    def refused(self, what: str, remedy: str) -> ConfigurationError:
        """The error that says so."""
        return ConfigurationError(f"model.name = {self.name!r}: {what}. Remedy: {remedy}.")


def narrowest(rows: int, batch_size: int, world: int) -> int:
    """Rows that a rank has at least in a step of an epoch over so many rows."""
    last = rows % batch_size or batch_size
    return -(-min(last, rows) // world)


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Every generator of random numbers stands afterwards where it stood."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - a model's own
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _require_recordable(settings: Mapping[str, Any]) -> None:
    """Names that the registry refuses, by its own rule."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_param

    for name, value in settings.items():
        try:
            _validate_param(name, str(value))
        except MlflowException as error:
            raise ConfigurationError(
                f"model.settings, {name.removeprefix('model.')!r}: the registry would not record a"
                f" setting of this name ({error.message.splitlines()[0]}). Remedy: name it with"
                " letters, digits, underscores and dashes."
            ) from error


def _require_sound(trial: _Trial) -> None:
    """What the weights alone tell."""
    model = trial.model()
    if not any(weight.requires_grad for weight in model.parameters()):
        what = "has no parameter to train"
        raise trial.refused(what, "give it an nn.Parameter that requires a gradient")
    names: dict[int, str] = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            what = f"state_dict has {name!r}, a {type(value).__name__}"
            raise trial.refused(what, "keep tensors alone, as parameters and buffers")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            what = f"{name} is not finite before the first step"
            raise trial.refused(what, "initialise it with finite numbers")
        if value.numel() and value.data_ptr() in names:
            what = f"{names[value.data_ptr()]} and {name} are one tensor, and a bundle keeps each"
            remedy = (
                "register it once, and use it in the other place as it is, such as"
                " F.linear(x, self.embedding.weight); or give both layers weights of their own"
            )
            raise trial.refused(f"{what} by itself", remedy)
        names[value.data_ptr()] = name


def _answers(trial: _Trial, model: nn.Module, inputs: Inputs, what: str) -> tuple[Tensor, Tensor]:
    try:
        with torch.inference_mode():
            output, sketch = model(*inputs)
    except Exception as error:
        rows = len(inputs[0])
        remedy = "let the forward pass take any number of rows"
        raise failed(f"{what} failed on {rows} rows", error, trial.name, remedy) from error
    return output, sketch


def _require_steady(trial: _Trial, model: nn.Module) -> None:
    """What a model that serves is held to: form, finite answers, and the same ones again."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    output, sketch = _answers(trial, model, trial.inputs, "its forward pass")
    torch.manual_seed(2)
    again, _ = _answers(trial, model, trial.inputs, "its forward pass")
    alone, own_sketch = _answers(trial, model, trial.first(1), "its forward pass")
    outputs = trial.start.card.outputs
    for rows, given in ((FEW, output), (1, alone)):
        if tuple(given.shape) != (rows, outputs) or given.dtype != torch.float32:
            what = f"gave {tuple(given.shape)} of {given.dtype} for {rows} rows"
            wanted = f"outputs ({rows}, {outputs}) of torch.float32, for any number of rows"
            raise trial.refused(what, f"return {wanted}")
    if sketch.dtype != torch.float32 or own_sketch.shape != (1, sketch.shape[1]):
        what = f"its sketch is {tuple(own_sketch.shape)} of {sketch.dtype} for one row"
        raise trial.refused(what, "name a layer that gives torch.float32 (n, ...)")
    for which, given in (("outputs", output), ("sketch", sketch)):
        if not bool(torch.isfinite(given).all()):
            what = f"its {which} are not finite before the first step, for rows of the refresh"
            raise trial.refused(what, "mend the forward pass, or the initial weights")
    if not torch.equal(output, again):
        what = "answers the same rows differently in eval mode: it draws random numbers"
        raise trial.refused(what, "draw where self.training is true, as nn.Dropout does")
    changed = [n for n, value in model.state_dict().items() if not torch.equal(value, before[n])]
    if changed:
        what = f"changes {changed[0]} when it only answers"
        raise trial.refused(what, "change buffers where self.training is true")
    if not _same(output[:1], alone):
        what = "answers a row differently when other rows stand beside it, in eval mode"
        remedy = "leave statistics of a batch out, such as BatchNorm without running statistics"
        raise trial.refused(what, remedy)


def _trained(trial: _Trial) -> nn.Module:
    """A model after one step of training; of no row, or of a few where it takes no empty batch."""
    try:
        model = trial.step(0)
    except TenforwardError:
        raise
    except Exception:  # noqa: BLE001 - the next try says why
        try:
            model = trial.step(FEW)
        except TenforwardError:
            raise
        except Exception as error:
            remedy = "mend the forward pass in training mode, or the layer that it names"
            raise failed("one step of training failed", error, trial.name, remedy) from error
    unused = [n for n, w in model.named_parameters() if w.requires_grad and w.grad is None]
    if unused:
        what = f"the loss does not depend on {', '.join(unused[:5])}, which gets no gradient"
        remedy = (
            "use it in the forward pass, remove it, or call requires_grad_(False) on it:"
            " several processes could not train it"
        )
        raise trial.refused(what, remedy)
    return model.cpu()


def _require_one_row(trial: _Trial) -> None:
    """A step in which a rank has one row, as the last one of each epoch may be."""
    try:
        trial.step(1)
    except Exception as error:
        size = trial.pipeline.training.batch_size
        remedy = (
            f"choose another training.batch_size than {size}, which leaves one row to a process in"
            " the last step of each epoch, or a layer that needs no other row, such as LayerNorm"
        )
        what = "cannot be trained on one row"
        raise failed(what, error, trial.name, remedy) from error


def _require_kept(trial: _Trial, model: nn.Module) -> None:
    """What is exported and what is stored answer as the model does."""
    card, wide = trial.start.card, trial.first(BLOCK)
    program = unpacked(require_exportable(model, card))
    answered, _ = _answers(trial, model.eval(), wide, "its forward pass")
    exported, _ = _answers(trial, program, wide, "its exported program")
    if not _same(answered, exported):
        what = "its exported program answers otherwise than the model"
        remedy = "leave values that Python computes from inputs out of the forward pass"
        raise trial.refused(what, remedy)
    with TemporaryDirectory(prefix="tenforward-") as folder:
        try:
            save_weights(model, Path(folder))
        except Exception as error:
            remedy = "keep plain tensors of their own memory as parameters and buffers"
            raise failed("its weights cannot be stored", error, trial.name, remedy) from error
        stored = load_file(Path(folder) / WEIGHTS)
    anew = build_model(card, seed=trial.start.seed + 1)
    anew.load_state_dict(stored)
    again, _ = _answers(trial, anew.eval(), wide, "its forward pass")
    if not _same(answered, again):
        kept = set(model.state_dict())
        lost = [name for name, _ in model.named_buffers() if name not in kept]
        which = f"buffer {lost[0]} is not persistent" if lost else "a tensor is not registered"
        what = f"answers otherwise once its weights are stored and loaded: {which}"
        remedy = "register what it computes with as parameters or persistent buffers"
        raise trial.refused(what, remedy)


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3)
