"""A model of one's own with a large table: all categories of a row together choose its embedding.

A pipeline's category has at most 1,048,576 codes, and a combination of several has more.
"""

import torch
from torch import Tensor, nn

from schemas.bundle import Blueprint


class Crossed(nn.Module):
    """One embedding of the crossed categories beside the numbers, then two layers."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.buckets, self.rows = blueprint.buckets, int(blueprint.settings["rows"])
        width = int(blueprint.settings["width"])
        self.table = nn.Embedding(self.rows, width)
        self.layers = nn.Sequential(
            nn.Linear(width + len(blueprint.names("number")), 64),
            nn.ReLU(),
            nn.Linear(64, 32),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, blueprint.outputs)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Outputs (n, outputs)."""
        code = torch.zeros_like(categories[:, 0])
        for place, buckets in enumerate(self.buckets):
            code = code * buckets + categories[:, place]
        joined = torch.cat([self.table(code % self.rows), numbers], dim=1)
        output: Tensor = self.head(self.layers(joined))
        return output


def network(blueprint: Blueprint) -> nn.Module:
    """The factory that the pipeline's `model.name` names."""
    return Crossed(blueprint)
