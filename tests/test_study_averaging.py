"""Means of the weights behind steps, which serve in the study's place of the last weights."""

import pytest
import torch
from torch import nn

from benchmarks.study.averaging import Averages, moving, over_second_half


def met(share, steps: int, means=()) -> tuple[nn.Linear, nn.Linear, list[torch.Tensor]]:
    """One weight that begins at 0 and goes up by 1 a step; its model, what serves, the means."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    averages = Averages(share, list(means))
    averages.watch(optimizer)
    for _ in range(steps):
        model.weight.grad = -torch.ones(1, 1)
        optimizer.step()
    return model, averages.put(model), averages.means


@pytest.mark.parametrize(("steps", "served"), [(1, 1.0), (2, 2.0), (4, 3.5), (5, 4.0), (100, 75.5)])
def test_the_mean_over_the_second_half_of_the_steps(steps, served):
    model, mean, _ = met(over_second_half(steps), steps)
    assert model.weight.item() == steps, "a fit goes on from the last weights"
    assert mean.weight.item() == pytest.approx(served, rel=1e-6)


def test_a_moving_mean_goes_on_where_the_refresh_before_left_it():
    _, served, means = met(moving(4), 2)
    assert served.weight.item() == pytest.approx((0 + 1 / 4) * 3 / 4 + 2 / 4)
    _, later, _ = met(moving(4), 1, means)
    assert later.weight.item() == pytest.approx(served.weight.item() * 3 / 4 + 1 / 4)
    assert means[0].item() == served.weight.item(), "what was kept is not written over"
