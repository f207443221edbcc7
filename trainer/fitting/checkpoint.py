"""Checkpoints: where a training stands, on disk, so that a killed one goes on from there.

One safetensors file, no pickle: tensors, and the rest as JSON in its header. It is written beside,
synchronised and renamed, so a reader meets the old one or the new one, never a part. It belongs to
one sample and one configuration; any other training leaves it aside by name.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from schemas.log import log

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
        # Copies: two names of one tensor would be refused.
        copies = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        save_file(copies, beside, metadata={HEADER: json.dumps(header)})
        _sync(beside)
        beside.replace(self.path)
        _sync(self.path.parent)

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        """Put model and optimizer where the file says they stood; the start without a file."""
        if not self.path.exists():
            return Progress()
        device = next(model.parameters()).device
        try:
            with safe_open(self.path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
                other = self._not_ours(header)
                if other:
                    log.warning("%s: left aside, it is of another %s", self.path, ", ".join(other))
                    return Progress()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            log.warning("%s: left aside, it cannot be read (%s)", self.path, error)
            return Progress()
        model.load_state_dict(_below("model/", tensors))
        _restore(optimizer, _below("optimizer/", tensors))
        sums = tensors["sums"].to(device).unbind() if "sums" in tensors else ()
        log.info("resumed in epoch %d, after step %d", header["epoch"] + 1, header["step"])
        means, validation = header["means"], header["validation"]
        return Progress(header["epoch"], header["step"], means, validation, list(sums))

    def _not_ours(self, header: Mapping[str, Any]) -> list[str]:
        """The names under which a file belongs to something else."""
        owner = header.get("belongs", {})
        return [name for name, value in self.belongs.items() if owner.get(name) != value]

    def remove(self) -> None:
        """The training is over."""
        self.path.unlink(missing_ok=True)


def _restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split("/")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
