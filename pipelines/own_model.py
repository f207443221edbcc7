"""An example of a model of one's own: a residual network over whatever features a pipeline has.

In the pipeline file (docs/models.md says what the contract is):

    [model]
    name = "pipelines.own_model:network"
    sketch_layer = "blocks"
    settings = { width = 64, depth = 2, dropout = 0.1 }
"""

import math

import torch
from torch import Tensor, nn

from schemas.bundle import Blueprint


class Residual(nn.Module):
    """A layer that adds to its input."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout)
        )

    def forward(self, layer: Tensor) -> Tensor:
        """(n, width) to (n, width)."""
        return layer + self.inside(layer)


class ResidualNetwork(nn.Module):
    """Everything side by side, residual layers, one linear head. Nothing here knows of sketches."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        width, depth = int(blueprint.settings["width"]), int(blueprint.settings["depth"])
        self.embeddings = nn.ModuleList(nn.Embedding(n, 8) for n in blueprint.buckets)
        numbers = len(blueprint.names("number")) + sum(map(math.prod, blueprint.shapes))
        self.first = nn.Linear(8 * len(blueprint.buckets) + numbers, width)
        dropout = float(blueprint.settings["dropout"])
        self.blocks = nn.Sequential(*(Residual(width, dropout) for _ in range(depth)))
        self.head = nn.Linear(width, blueprint.outputs)

    def forward(self, categories: Tensor, numbers: Tensor, *tensors: Tensor) -> Tensor:
        """Outputs (n, outputs)."""
        parts = [embed(categories[:, i]) for i, embed in enumerate(self.embeddings)]
        parts += [numbers, *(tensor.flatten(1) for tensor in tensors)]
        output: Tensor = self.head(self.blocks(self.first(torch.cat(parts, dim=1))))
        return output


def network(blueprint: Blueprint) -> nn.Module:
    """The factory that the pipeline file names."""
    return ResidualNetwork(blueprint)
