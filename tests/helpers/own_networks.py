"""Networks as people write them: two sound ones, and one for each thing that goes wrong."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.bundle import Blueprint


class Network(nn.Module):
    """What each case changes a little."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 8), nn.Tanh())
        self.head = nn.Linear(8, blueprint.outputs)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        output: Tensor = self.head(self.body(numbers))
        return output


class Normalised(Network):
    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.body = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh())


class Tied(Network):
    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
        self.two.weight = self.one.weight

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return super().forward(categories, self.two(self.one(numbers)))


class Unused(Network):
    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.spare = nn.Linear(2, 2)


class Frozen(Unused):
    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.spare.requires_grad_(False)


class NothingToTrain(Network):
    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.requires_grad_(False)


class NotFinite(Network):
    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        nn.init.constant_(self.head.bias, float("nan"))


class Logarithm(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return super().forward(categories, numbers) + numbers.log()[:, :1]


class Double(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return super().forward(categories, numbers).double()


class Squeezed(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        output = super().forward(categories, numbers)
        return output.squeeze(0) if len(output) == 1 else output


class Random(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return F.dropout(super().forward(categories, numbers), 0.5)


class Dropping(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return F.dropout(super().forward(categories, numbers), 0.5, self.training)


class Neighbours(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return super().forward(categories, numbers - numbers.mean(0))


class Counting(Network):
    count: Tensor

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        self.count += 1
        return super().forward(categories, numbers)


class Unkept(Network):
    noise: Tensor

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.register_buffer("noise", torch.randn(2), persistent=False)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return super().forward(categories, numbers * self.noise)


class Unregistered(Network):
    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.noise = torch.randn(2)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return super().forward(categories, numbers * self.noise)


class Pair(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Any:
        output = super().forward(categories, numbers)
        return (output, output) if self.training else output


class Failing(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        if self.training:
            raise ZeroDivisionError("one by nothing")
        return super().forward(categories, numbers)


class InPlace(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        hidden = self.body(numbers)
        hidden += 1  # what tanh's gradient needs is gone
        output: Tensor = self.head(hidden)
        return output


class Sparse(Network):
    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.codes = nn.Embedding(32, 2, sparse=True)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return super().forward(categories, numbers + self.codes(categories[:, 0]))


class Branching(Network):
    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        output = super().forward(categories, numbers)
        return output if output.sum() > 0 else -output


class ExtraState(Network):
    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 1}

    def set_extra_state(self, state: Any) -> None:
        pass


class Reshaping(Network):
    """Takes no empty batch, as -1 cannot be told from it."""

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return super().forward(categories, numbers.reshape(numbers.shape[0], -1))


def made(blueprint: Blueprint) -> nn.Module:
    network: nn.Module = globals()[blueprint.settings["case"]](blueprint)
    return network
