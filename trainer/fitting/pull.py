"""How hard a warm start is pulled to its parent, tried out where it matters: on later days.

A weak pull follows the drawn days closely, a strong one trusts the parent: which of them answers
better is not seen on the days drawn from, where the weakest always wins. So every pull of
`training.pulls` is fitted to the whole sample and measured on half of the forward rows; the gate
judges by the other half.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import nn

from schemas.log import log
from schemas.pipeline import Pipeline
from trainer.data.reader import HeldOut
from trainer.fitting.fit import Fitted, History


class Chosen(NamedTuple):
    """The fit that was chosen, and what every pull lost on the later days."""

    pull: float
    model: nn.Module
    history: History
    losses: Mapping[float, float]  # empty where there was nothing to choose

    def metrics(self) -> dict[str, dict[str, float]]:
        """For the run's record, where there was something to choose."""
        losses = {f"loss_of_{pull}": loss for pull, loss in self.losses.items()}
        return {"pull": {"taken": self.pull} | losses} if losses else {}


def to_choose_by(
    pipeline: Pipeline, held_out: HeldOut, *, warm: bool
) -> tuple[HeldOut | None, HeldOut]:
    """Rows to choose a pull by, None where there is none to choose or they are too few, and rows to
    judge by: every other forward row that weighs anything, and all others to judge."""
    if not (pipeline.training.pulls and warm):
        return None, held_out
    counts = held_out.forward & (held_out.rows.weight > 0)
    choose = counts & (counts.cumsum() % 2 == 0)
    if choose.sum() < pipeline.gate.min_rows:
        log.warning(
            "%d forward rows are too few to choose a pull by: training.pull is taken", choose.sum()
        )
        return None, held_out
    return held_out.at(choose), held_out.at(~choose)


def with_pull(pipeline: Pipeline, pull: float) -> Pipeline:
    """The pipeline with this pull and no others."""
    changed = pipeline.training.model_copy(update={"pull": pull, "pulls": []})
    return pipeline.model_copy(update={"training": changed})


def choose(fits: Mapping[float, Fitted], loss: Callable[[nn.Module], float]) -> Chosen:
    """Of the fits by pull the one of the least `loss`, the first of equals, one that is no number
    last; a fit alone is not measured."""
    losses: dict[float, float] = {}
    if len(fits) > 1:
        losses = {pull: loss(model) for pull, (model, _) in fits.items()}
        listed = ", ".join(f"{pull:g}: {value:.5f}" for pull, value in losses.items())
        log.info("loss on forward rows by pull: %s", listed)

    def rank(pull: float) -> tuple[bool, float]:
        value = losses.get(pull, 0.0)
        return math.isnan(value), value  # by itself NaN would keep its place, as nothing is less

    least = min(fits, key=rank)
    return Chosen(least, *fits[least], losses)
