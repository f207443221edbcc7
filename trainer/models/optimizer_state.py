"""What an optimizer remembers, by the names of the model's parameters: a fit leaves it to the next.

A fresh AdamW's first steps are all of one size, whatever the gradient: in a short fit, most steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from schemas.log import log

# What it keeps for each parameter, by its name in `training.optimizer`: tensors of the parameter's
# shape, and its count of steps, a number.
KEPT: dict[str, tuple[str, ...]] = {
    "adamw": ("exp_avg", "exp_avg_sq", "step"),
    "sgd": ("momentum_buffer",),
}
COUNT = "step"
HEADER = "optimizer"  # the file's metadata: which optimizer it was


@dataclass(frozen=True)
class OptimizerState:
    """The state of an optimizer, on the CPU."""

    optimizer: str  # as `training.optimizer` names it
    tensors: Mapping[str, Tensor]  # by KEPT/PARAMETER, such as "exp_avg/network.layers.0.weight"

    @staticmethod
    def of(
        name: str, optimizer: torch.optim.Optimizer, model: nn.Module
    ) -> "OptimizerState | None":
        """A copy of what the optimizer `name` of this model remembers; None where that is
        nothing."""
        tensors = {
            f"{kept}/{parameter}": _copy(value)
            for parameter, weight in model.named_parameters()
            for kept, value in optimizer.state.get(weight, {}).items()
            if kept in KEPT[name]
        }
        return OptimizerState(name, tensors) if tensors else None

    @staticmethod
    def blank(name: str, model: nn.Module) -> "OptimizerState":
        """Zeros in the form of the state, for a rank that receives it."""
        return OptimizerState(name, {k: torch.zeros(s) for k, s in _shapes(name, model).items()})

    @staticmethod
    def load(path: Path) -> "OptimizerState | None":
        """The state in a file, bit by bit; None where there is no file, or one of no use."""
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                name = (file.metadata() or {}).get(HEADER, "")
                return OptimizerState(name, {k: file.get_tensor(k) for k in file.keys()})  # noqa: SIM118
        except SafetensorError as error:
            log.warning("%s: left aside, it cannot be read (%s)", path, error)
            return None

    def save(self, path: Path) -> None:
        """Write the state into a safetensors file."""
        save_file(dict(self.tensors), path, metadata={HEADER: self.optimizer})

    def unusable(self, name: str, model: nn.Module) -> str | None:
        """Why the optimizer `name` cannot go on from here with this model, in words; None where it
        can."""
        if self.optimizer != name:
            return f"the state is of {self.optimizer!r}, training.optimizer = {name!r}"
        for key, shape in _shapes(name, model).items():
            value = self.tensors.get(key)
            if value is None:
                return f"the state has no {key}"
            if value.shape != shape:
                return f"{key} has the shape {tuple(value.shape)}, not {tuple(shape)}"
            if not bool(torch.isfinite(value).all()):  # it would never heal
                return f"{key} is not finite"
        return None

    def put(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        """Let a new optimizer of this model go on from here, with copies on its own device."""
        name_of = {weight: name for name, weight in model.named_parameters()}
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        state = {
            number: {
                kept: self.tensors[f"{kept}/{name_of[weight]}"].clone()
                for kept in KEPT[self.optimizer]
            }
            for number, weight in enumerate(weights)
        }
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _copy(value: Tensor) -> Tensor:
    """On the CPU, copied once wherever it was."""
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _shapes(name: str, model: nn.Module) -> dict[str, torch.Size]:
    """The shapes of the state's tensors for the trained parameters, by KEPT/PARAMETER."""
    return {
        f"{kept}/{parameter}": torch.Size() if kept == COUNT else weight.shape
        for parameter, weight in model.named_parameters()
        if weight.requires_grad
        for kept in KEPT[name]
    }
