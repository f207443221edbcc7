"""The built-in networks: plain modules from inputs to outputs.

Each maps (categories int64 (n, c), numbers float32 (n, m), then a float32 (n, *shape) a tensor) to
outputs (n, outputs). Numbers and tensors come standardised (`trainer/models/model.py`).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from schemas.bundle import Blueprint
from schemas.shared_columns import SKETCH_WIDTH

EMBEDDING_SCALE = 0.05  # small, so that a code never seen in training says almost nothing
PROJECTION_SEED = 20210414  # any constant: fresh models of one shape share their projection


class Joined(nn.Module):
    """Embeddings of the categories, the numbers and the flattened tensors, side by side."""

    def __init__(self, buckets: Sequence[int]) -> None:
        """`buckets` is the number of codes of each category."""
        super().__init__()
        self.embeddings = nn.ModuleList(map(_embedding, buckets))

    def forward(self, categories: Tensor, numbers: Tensor, *tensors: Tensor) -> Tensor:
        """One row a row, (n, width)."""
        parts = [_looked_up(embed, categories[:, i]) for i, embed in enumerate(self.embeddings)]
        return torch.cat([*parts, numbers, *(tensor.flatten(1) for tensor in tensors)], dim=1)


class EmbeddingMLP(nn.Module):
    """Joined inputs, then ReLU layers of the widths `hidden`."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.joined = Joined(blueprint.buckets)
        tensors = sum(map(math.prod, blueprint.shapes))
        width = _joined_width(blueprint) + tensors
        self.layers = _layers(width, blueprint.settings["hidden"])
        self.head = nn.Linear(blueprint.settings["hidden"][-1], blueprint.outputs)

    def forward(self, categories: Tensor, numbers: Tensor, *tensors: Tensor) -> Tensor:
        """Outputs (n, outputs)."""
        output: Tensor = self.head(self.layers(self.joined(categories, numbers, *tensors)))
        return output


class Convolutional(nn.Module):
    """A 3 x 3 convolution, ReLU and halving for each of `channels`; what is left of the image
    beside the other inputs, then as `EmbeddingMLP`."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        shapes, channels = blueprint.shapes, blueprint.settings["channels"]
        self.image = next(i for i, shape in enumerate(shapes) if len(shape) == 3)
        depth, height, width = shapes[self.image]
        blocks: list[nn.Module] = []
        for before, after in zip([depth, *channels], channels, strict=False):
            blocks += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
            if min(height, width) > 1:
                blocks.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
        self.convolutions = nn.Sequential(*blocks)
        self.joined = Joined(blueprint.buckets)
        others = sum(math.prod(s) for i, s in enumerate(shapes) if i != self.image)
        total = _joined_width(blueprint) + others + channels[-1] * height * width
        self.layers = _layers(total, blueprint.settings["hidden"])
        self.head = nn.Linear(blueprint.settings["hidden"][-1], blueprint.outputs)

    def forward(self, categories: Tensor, numbers: Tensor, *tensors: Tensor) -> Tensor:
        """Outputs (n, outputs)."""
        seen = [self.convolutions(t) if i == self.image else t for i, t in enumerate(tensors)]
        output: Tensor = self.head(self.layers(self.joined(categories, numbers, *seen)))
        return output


class Linear(nn.Module):
    """A weight a number and a weight a code, for each output: logistic, softmax or linear
    regression, by the loss that it is trained with."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        width = len(blueprint.names("number")) + sum(map(math.prod, blueprint.shapes))
        self.head = nn.Linear(width, blueprint.outputs)
        self.codes = nn.ModuleList(nn.Embedding(n, blueprint.outputs) for n in blueprint.buckets)
        for table in self.codes:
            assert isinstance(table, nn.Embedding)
            nn.init.zeros_(table.weight)
        self.inputs = FixedProjection(blueprint.buckets, width)

    def forward(self, categories: Tensor, numbers: Tensor, *tensors: Tensor) -> Tensor:
        """Outputs (n, outputs); the inputs are projected beside, for the sketch."""
        flat = torch.cat([numbers, *(tensor.flatten(1) for tensor in tensors)], dim=1)
        self.inputs(categories, flat)
        output: Tensor = self.head(flat)
        for i, table in enumerate(self.codes):
            output = output + _looked_up(table, categories[:, i])
        return output


class FixedProjection(nn.Module):
    """Inputs, categories as indicators, projected to 16 numbers: of a linear model this times the
    residual is a sketch of the gradient. Random signs for each code, as in Achlioptas, "Database-
    friendly random projections", JCSS 2003; orthonormal columns for the numbers."""

    def __init__(self, buckets: Sequence[int], width: int) -> None:
        super().__init__()
        signs = np.random.Generator(np.random.Philox(PROJECTION_SEED))
        for place, count in enumerate(buckets):
            table = signs.integers(0, 2, (count, SKETCH_WIDTH)) * 2 - 1
            scaled = torch.from_numpy((table / math.sqrt(SKETCH_WIDTH)).astype(np.float32))
            self.register_buffer(f"codes{place}", scaled)
        columns = np.zeros((width, SKETCH_WIDTH), np.float32)
        if width:
            orthogonal = orthonormal(width).numpy()
            columns[:, : orthogonal.shape[1]] = orthogonal
        self.numbers: Tensor
        self.register_buffer("numbers", torch.from_numpy(columns))

    def forward(self, categories: Tensor, flat: Tensor) -> Tensor:
        """The projection (n, 16)."""
        projected = flat @ self.numbers
        for place in range(categories.shape[1]):
            projected = projected + self.get_buffer(f"codes{place}")[categories[:, place]]
        return projected


def orthonormal(width: int) -> Tensor:
    """Orthonormal columns (width, min(16, width)), the same on every call."""
    generator = np.random.Generator(np.random.Philox(PROJECTION_SEED))
    columns = generator.standard_normal((width, min(SKETCH_WIDTH, width)))
    return torch.from_numpy(np.linalg.qr(columns)[0].astype(np.float32))


def embedding_width(buckets: int) -> int:
    """Twice the fourth root of the number of codes, at most 16: 7 -> 3, 256 -> 8, 1024 -> 11."""
    return min(16, round(2 * math.pow(buckets, 0.25)))


def _embedding(buckets: int) -> nn.Embedding:
    embedding = nn.Embedding(buckets, embedding_width(buckets))
    nn.init.normal_(embedding.weight, std=EMBEDDING_SCALE)
    return embedding


def _looked_up(table: nn.Module, codes: Tensor) -> Tensor:
    """The table's rows (n, width) of the codes (n,)."""
    if codes.is_cuda:
        # The gradient of an embedding's own look-up sorts the codes and waits to count them.
        return table.get_parameter("weight").index_select(0, codes)
    rows: Tensor = table(codes)
    return rows


def _joined_width(blueprint: Blueprint) -> int:
    """Of the embeddings and the numbers."""
    return sum(map(embedding_width, blueprint.buckets)) + len(blueprint.names("number"))


def _layers(width: int, hidden: Sequence[int]) -> nn.Sequential:
    widths = [width, *hidden]
    blocks: list[nn.Module] = []
    for before, after in zip(widths, hidden, strict=False):
        blocks += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*blocks)
