"""The product's fit, and what the study tries beside it: another order, averaged weights."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.study.arms import Arm
from benchmarks.study.order import Dealt
from schemas.pipeline import Pipeline
from schemas.record_step import RecordStep
from schemas.sections.training import Training
from trainer.data.sample import Kept, in_memory
from trainer.data.survey import survey_of
from trainer.fitting import fit as product
from trainer.fitting.intercept import settle_intercept
from trainer.fitting.start import Start, share_of
from trainer.models.export import Loaded

if TYPE_CHECKING:
    from benchmarks.study.loop import Chosen


class Averages:
    """The mean of the weights behind the steps from one of them on."""

    def __init__(self, first: int) -> None:
        """`first`: the step, counted from 0, after which weights are taken in."""
        self.first, self.steps, self.taken = first, 0, 0
        self.weights: list[nn.Parameter] = []
        self.sums: list[torch.Tensor] = []

    def watch(self, optimizer: torch.optim.Optimizer) -> None:
        """Take in the weights behind each step of this optimizer."""
        self.weights = [one for group in optimizer.param_groups for one in group["params"]]
        self.sums = [torch.zeros_like(weight) for weight in self.weights]
        optimizer.register_step_post_hook(lambda *_: self._after())

    def _after(self) -> None:
        self.steps += 1
        if self.steps > self.first:
            self.taken += 1
            for total, weight in zip(self.sums, self.weights, strict=True):
                total.add_(weight.detach())

    def put(self) -> None:
        """The means in place of the last weights."""
        with torch.no_grad():
            for total, weight in zip(self.sums, self.weights, strict=True):
                weight.copy_(total / self.taken)


@contextmanager
def _averaging(averages: Averages, name: str) -> Iterator[None]:
    """The product's optimizer of this name is watched."""
    plain = product.OPTIMIZERS[name]

    def watched(weights: list[nn.Parameter], settings: Training) -> torch.optim.Optimizer:
        made = plain(weights, settings)
        averages.watch(made)
        return made

    product.OPTIMIZERS[name] = watched
    try:
        yield
    finally:
        product.OPTIMIZERS[name] = plain


def fit_arm(
    arm: Arm, pipeline: Pipeline, parent: Loaded, chosen: "Chosen", step: RecordStep | None = None
) -> tuple[nn.Module, product.History]:
    """A model fitted to the chosen rows, from the parent's weights and optimizer; step: of the
    parent's records."""
    settings, rows = pipeline.training, chosen.rows
    survey, move = survey_of([rows], pipeline.task), share_of(step, settings)
    start = Start(parent.card, settings.seed, survey, parent, move)
    model = start.model()
    sample: Kept = in_memory(rows)
    if arm.order == "dealt":
        sample = Dealt.of(rows, rows.weight * chosen.residual)
    steps = settings.epochs * -(-len(rows) // settings.batch_size)
    averages = Averages(steps // 2)
    with _averaging(averages, settings.optimizer) if arm.averaged else nullcontext():
        history = product.fit(
            model,
            sample,
            pipeline.task,
            settings,
            pulled=True,
            mean_weight=start.survey.mean_weight,
            carried=start.carried(settings),
        )
    if arm.averaged:
        averages.put()
        settle_intercept(model.eval(), sample, pipeline.task, settings)
    return model.eval(), history
