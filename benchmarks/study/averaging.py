"""Means of the weights behind the steps of a fit, which serve in place of the last weights.

Over the second half of a fit's steps (Polyak and Juditsky, "Acceleration of Stochastic
Approximation by Averaging", SIAM J. Control Optim. 30(4), 1992), or a moving mean that goes on from
refresh to refresh while fits go on from the last weights.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from schemas.sections.training import Training
from trainer.fitting import fit as product

Share = Callable[[int], float]  # of the weights behind a step, counted from 1, in the mean


def over_second_half(steps: int) -> Share:
    """The mean of the weights behind the last half of so many steps."""
    first = steps // 2
    return lambda step: 1 / max(1, step - first)


def moving(steps: int) -> Share:
    """A moving mean in which weights count 1/e after so many further steps."""
    return lambda step: 1 / steps


class Averages:
    """mean += share x (weights - mean) behind every step."""

    def __init__(self, share: Share, means: list[torch.Tensor]) -> None:
        """means: those to go on from; empty to begin at the weights before the first step."""
        self.share, self.means, self.steps = share, means, 0
        self.weights: list[nn.Parameter] = []

    def watch(self, optimizer: torch.optim.Optimizer) -> None:
        """Take in the weights behind each step of this optimizer."""
        self.weights = [one for group in optimizer.param_groups for one in group["params"]]
        self.means = [one.detach().clone() for one in self.means or self.weights]
        optimizer.register_step_post_hook(lambda *_: self._after())

    def _after(self) -> None:
        self.steps += 1
        for mean, weight in zip(self.means, self.weights, strict=True):
            mean.lerp_(weight.detach(), self.share(self.steps))

    def put(self, model: nn.Module) -> nn.Module:
        """A copy of the model, whose weights were watched, with the means in their place."""
        copies: dict[int, nn.Parameter] = {}
        served = copy.deepcopy(model, copies)
        with torch.no_grad():
            for mean, weight in zip(self.means, self.weights, strict=True):
                copies[id(weight)].copy_(mean)
        return served


@contextmanager
def watched(averages: Averages, name: str) -> Iterator[None]:
    """The product's optimizer of this name is watched meanwhile."""
    plain = product.OPTIMIZERS[name]

    def made(weights: list[nn.Parameter], settings: Training) -> torch.optim.Optimizer:
        optimizer = plain(weights, settings)
        averages.watch(optimizer)
        return optimizer

    product.OPTIMIZERS[name] = made
    try:
        yield
    finally:
        product.OPTIMIZERS[name] = plain
