"""Taking a record step: the last layer of a built-in model moved by what the records say."""

import torch
from torch import Tensor, nn

from trainer.models.model import SketchedNetwork
from trainer.models.networks import Linear


@torch.no_grad()
def take(model: nn.Module, move: Tensor) -> None:
    """Change a built-in model's last layer, in place, so that its outputs (n, m) become
    outputs + (1, sketch) @ move.

    move (1 + width, m): as `schemas.record_step.RecordStep` has it, or a share of it.
    """
    assert isinstance(model, SketchedNetwork)
    network, sketched = model.network, model.projection @ move[1:]
    head = network.get_submodule("head")
    assert isinstance(head, nn.Linear)
    head.bias.add_(move[0])
    if not isinstance(network, Linear):
        head.weight.add_(sketched.T)
        return
    # Its sketch is of the inputs, which a fixed projection has made narrower before.
    head.weight.add_((network.inputs.numbers @ sketched).T)
    for place, table in enumerate(network.codes):
        assert isinstance(table, nn.Embedding)
        table.weight.add_(network.inputs.get_buffer(f"codes{place}") @ sketched)
