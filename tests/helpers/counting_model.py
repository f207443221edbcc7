"""A model that counts by itself how many rows went through a training step, in a file.

For tests of the ledger: what it says is held against the trainer's own count.
"""

import os

from torch import Tensor, nn

from pipelines.own_model import ResidualNetwork
from schemas.bundle import Blueprint

FILE = "TENFORWARD_TEST_ROWS"  # a line for each forward pass in training, with its rows


class Counting(ResidualNetwork):
    """The example model, which tells."""

    def forward(self, categories: Tensor, numbers: Tensor, *tensors: Tensor) -> Tensor:
        """Outputs (n, outputs)."""
        if self.training:
            file = os.open(os.environ[FILE], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(file, f"{categories.shape[0]}\n".encode())
            os.close(file)
        return super().forward(categories, numbers, *tensors)


def network(blueprint: Blueprint) -> nn.Module:
    """The factory that the pipeline file names."""
    return Counting(blueprint)
