"""The product's fit, and what the study tries beside it: another order, averaged weights, moments
of the optimizer that go on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from benchmarks.study.arms import Arm
from benchmarks.study.order import Dealt
from schemas.pipeline import Pipeline
from schemas.sections.training import Training
from trainer.data.sample import Kept, in_memory
from trainer.data.survey import survey_of
from trainer.fitting import fit as product
from trainer.fitting.intercept import settle_intercept
from trainer.fitting.start import Start
from trainer.models.export import Loaded

if TYPE_CHECKING:
    from benchmarks.study.loop import Chosen

Carried = dict[str, Any]  # the state of an optimizer


class ArmFit(NamedTuple):
    """A model, the rows that its steps took, and the optimizer's state after them."""

    model: nn.Module
    rows: int
    carried: Carried


@dataclass
class _Watched:
    """Builds the optimizer of a fit, keeps it, and averages the weights behind its steps."""

    carried: Carried | None
    averages_from: int | None  # the step from which weights are averaged
    optimizer: torch.optim.Optimizer | None = None
    steps: int = 0
    averaged: int = 0

    def build(self, weights: list[nn.Parameter], settings: Training) -> torch.optim.Optimizer:
        """The product's own optimizer."""
        made = _PLAIN[settings.optimizer](weights, settings)
        if self.carried is not None:
            made.load_state_dict(self.carried)
        self.optimizer, self.weights = made, weights
        if self.averages_from is not None:
            self.sums = [torch.zeros_like(weight) for weight in weights]
            made.register_step_post_hook(lambda *_: self._after())
        return made

    def _after(self) -> None:
        self.steps += 1
        assert self.averages_from is not None
        if self.steps > self.averages_from:
            self.averaged += 1
            for total, weight in zip(self.sums, self.weights, strict=True):
                total.add_(weight.detach())

    def put_averages(self) -> None:
        """The mean of the weights in place of the last."""
        with torch.no_grad():
            for total, weight in zip(self.sums, self.weights, strict=True):
                weight.copy_(total / max(self.averaged, 1))


_PLAIN = dict(product.OPTIMIZERS)


def fit_arm(
    arm: Arm, pipeline: Pipeline, parent: Loaded, chosen: "Chosen", carried: Carried | None
) -> ArmFit:
    """A model fitted to the chosen rows, from the parent's weights."""
    settings, rows = pipeline.training, chosen.rows
    survey = survey_of([rows], pipeline.task)
    model = Start(parent.card, settings.seed, survey, parent).model()
    sample: Kept = in_memory(rows)
    if arm.order == "dealt":
        sample = Dealt.of(rows, rows.weight * chosen.residual)
    steps = settings.epochs * -(-len(rows) // settings.batch_size)
    watched = _Watched(carried if arm.carried else None, steps // 2 if arm.averaged else None)
    product.OPTIMIZERS[settings.optimizer] = watched.build
    try:
        history = product.fit(
            model, sample, pipeline.task, settings, pulled=True, mean_weight=survey.mean_weight
        )
    finally:
        product.OPTIMIZERS.update(_PLAIN)
    if arm.averaged:
        watched.put_averages()
        settle_intercept(model.eval(), sample, pipeline.task, settings)
    assert watched.optimizer is not None
    return ArmFit(model.eval(), history.rows, watched.optimizer.state_dict())
