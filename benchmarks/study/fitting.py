"""The product's fit, and what the study tries beside it: another order, averaged weights."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from benchmarks.study.arms import Arm
from benchmarks.study.averaging import Averages, moving, over_second_half, watched
from benchmarks.study.order import Dealt
from schemas.pipeline import Pipeline
from schemas.record_step import RecordStep
from trainer.data.sample import Kept, in_memory
from trainer.data.survey import survey_of
from trainer.fitting import fit as product
from trainer.fitting.intercept import settle_intercept
from trainer.fitting.start import Start, share_of
from trainer.models.export import Loaded

if TYPE_CHECKING:
    from benchmarks.study.loop import Chosen


class Fitted(NamedTuple):
    """trained: where the next fit begins. served: what answers. means: of the weights, to go on
    with at the next refresh; empty where nothing goes on."""

    trained: nn.Module
    served: nn.Module
    means: list[torch.Tensor]
    history: product.History


def fit_arm(
    arm: Arm,
    pipeline: Pipeline,
    parent: Loaded,
    chosen: "Chosen",
    step: RecordStep | None = None,
    means: list[torch.Tensor] | None = None,
) -> Fitted:
    """A model fitted to the chosen rows, from the parent's weights and optimizer; step: of the
    parent's records; means: those of the refresh before."""
    settings, rows = pipeline.training, chosen.rows
    survey, move = survey_of([rows], pipeline.task), share_of(step, settings)
    start = Start(parent.card, settings.seed, survey, parent, move)
    model = start.model()
    sample: Kept = in_memory(rows)
    if arm.order == "dealt":
        sample = Dealt.of(rows, rows.weight * chosen.residual)
    steps = settings.epochs * -(-len(rows) // settings.batch_size)
    share = moving(steps * arm.moving) if arm.moving else over_second_half(steps)
    averages = Averages(share, means or [])
    averaged = arm.averaged or arm.moving
    with watched(averages, settings.optimizer) if averaged else nullcontext():
        history = product.fit(
            model,
            sample,
            pipeline.task,
            settings,
            pulled=True,
            mean_weight=start.survey.mean_weight,
            carried=start.carried(settings),
        )
    trained = served = model.eval()
    if averaged:
        served = averages.put(trained)
        settle_intercept(served, sample, pipeline.task, settings)
    if arm.averaged:
        trained = served
    return Fitted(trained, served, averages.means if arm.moving else [], history)
