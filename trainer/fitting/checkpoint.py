"""Checkpoints: where a training stands, on disk, so that a killed one goes on from there.

One safetensors file, no pickle: tensors, and the rest as JSON in its header. It is written beside,
synchronised and renamed, so a reader meets the old one or the new one, never a part. It belongs to
one sample, one configuration and one network, which a change in the code of a model of one's own
may make another; any other training leaves it aside by name. Of several ranks the first writes and
reads it and sends it to the others, which may be on machines that share no disk.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from schemas.log import log
from trainer.processes.ranks import Ranks

HEADER = "tenforward"


@dataclass
class Progress:
    """What is behind: whole epochs, and steps of the next one."""

    epoch: int = 0
    step: int = 0
    means: list[float] = field(default_factory=list)  # training loss of each whole epoch
    validation: list[float] = field(default_factory=list)  # the same, where rows are held back
    sums: list[Tensor] = field(default_factory=list)  # weight x loss, of each step of this epoch

    def end_epoch(self, mean: float, validation: float | None) -> None:
        """An epoch more is behind, with these losses."""
        self.means.append(mean)
        if validation is not None:
            self.validation.append(validation)
        self.epoch, self.step, self.sums = self.epoch + 1, 0, []


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file of one training."""

    path: Path
    belongs: Mapping[str, str]  # what the fitted weights depend on, by name

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, done: Progress) -> None:
        """Replace the file by one of this moment."""
        tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{name}": value for name, value in state.items()}
        if done.sums:
            tensors["sums"] = torch.stack(done.sums)
        header = {
            "belongs": dict(self.belongs),
            "epoch": done.epoch,
            "step": done.step,
            "means": done.means,
            "validation": done.validation,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        beside.unlink(missing_ok=True)  # a link would have us write to where it leads
        # Copies: two names of one tensor would be refused.
        copies = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        save_file(copies, beside, metadata={HEADER: json.dumps(header)})
        _sync(beside)
        beside.replace(self.path)
        _sync(self.path.parent)

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer, ranks: Ranks) -> Progress:
        """Put model and optimizer where the first rank's file says they stood; the start without
        one. Every rank calls this."""
        content = ranks.content(self._content(model, optimizer) if ranks.first else b"")
        if not content:
            return Progress()
        header, tensors = _opened(content)
        device = next(model.parameters()).device
        model.load_state_dict(_below("model/", tensors))
        _restore(optimizer, _below("optimizer/", tensors))
        sums = tensors["sums"].to(device).unbind() if "sums" in tensors else ()
        log.info("resumed in epoch %d, after step %d", header["epoch"] + 1, header["step"])
        means, validation = header["means"], header["validation"]
        return Progress(header["epoch"], header["step"], means, validation, list(sums))

    def _content(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> bytes:
        """The file, where there is one of this training; else nothing, and a line of the log says
        why it is left aside."""
        try:
            content = self.path.read_bytes()
            header, tensors = _opened(content)
            other = self._not_ours(header) or _unlike(tensors, model, optimizer)
        except FileNotFoundError:
            return b""
        except (SafetensorError, ValueError) as error:
            log.warning("%s: left aside, it cannot be read (%s)", self.path, error)
            return b""
        if other:
            log.warning("%s: left aside, it is of another %s", self.path, ", ".join(other))
            return b""
        return content

    def _not_ours(self, header: Mapping[str, Any]) -> list[str]:
        """The names under which a file belongs to something else."""
        owner = header.get("belongs", {})
        return [name for name, value in self.belongs.items() if owner.get(name) != value]

    def remove(self) -> None:
        """The training is over."""
        self.path.unlink(missing_ok=True)


def _opened(content: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file's content. Raises SafetensorError where it is no such file."""
    tensors = load(content)
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return json.loads(metadata.get(HEADER, "{}")), tensors


def _unlike(
    tensors: Mapping[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer
) -> list[str]:
    """What of a file is of another form than this model and its optimizer."""
    kept = {name: value.shape for name, value in _below("model/", tensors).items()}
    if kept != {name: value.shape for name, value in model.state_dict().items()}:
        return ["network"]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    states = _states(_below("optimizer/", tensors))
    fits = all(
        number < len(weights)
        and all(value.shape in (torch.Size(), weights[number].shape) for value in state.values())
        for number, state in states.items()
    )
    return [] if fits else ["choice of trained weights"]


def _restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    optimizer.load_state_dict(optimizer.state_dict() | {"state": _states(tensors)})


def _states(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The optimizer's tensors by the number of the parameter that they are of."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split("/")
        states.setdefault(int(number), {})[name] = value
    return states


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
