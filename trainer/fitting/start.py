"""What a training starts from: the model's card, the scale of its inputs, its parent, and what the
records of all rows say of that one's last layer."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schemas.bundle import ModelCard
from schemas.encoding import Encoding
from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.record_step import RecordStep
from schemas.sections.training import Training
from trainer.data.survey import Survey
from trainer.fitting.checks import count_outputs, require_comparable, require_rows_of_now
from trainer.models.export import Loaded
from trainer.models.model import build_model, model_card, standardise
from trainer.models.optimizer_state import OptimizerState
from trainer.models.record_step import take


@dataclass(frozen=True)
class Start:
    """All that a model is before its first step."""

    card: ModelCard
    seed: int
    survey: Survey  # of the rows that it is fitted to
    parent: Loaded | None
    move: torch.Tensor | None = None  # of the parent's last layer, before the first step

    @property
    def warm(self) -> bool:
        """Whether the model begins with a parent's weights."""
        return self.parent is not None

    def model(self) -> nn.Module:
        """The model with its parent's weights, or with fresh ones fitted to the scale of the
        rows."""
        model = build_model(self.card, self.seed)
        if self.parent is None:
            standardise(model, self.survey)
        else:
            model.load_state_dict(self.parent.weights)
        if self.move is not None:
            take(model, self.move)
        return model

    def carried(self, settings: Training) -> OptimizerState | None:
        """The state from which the optimizer goes on: the parent's, where that is wanted and fits;
        where it does not, a line of the log says why."""
        if self.parent is None or not settings.carry_optimizer:
            return None
        state = self.parent.optimizer
        if state is None:
            why: str | None = "the parent has no state"
        else:
            why = state.unusable(settings.optimizer, build_model(self.card, self.seed))
        if why is not None:
            log.info("the optimizer begins afresh: %s", why)
            return None
        return state


def prepare(
    pipeline: Pipeline,
    refresh_id: str,
    survey: Survey,
    held_out: NDArray[np.float32],
    champion: Loaded | None,
    encoding: Encoding | None = None,
    record_step: RecordStep | None = None,
) -> Start:
    """The start of a training on a refresh; the champion is the parent where its weights fit.

    held_out: labels (n,) of the held-out rows. encoding: of the rows, as `model_card` takes it.
    record_step: of the refresh; `training.record_step` of it is taken where it is the parent's.
    Raises what `count_outputs`, `require_comparable` and `require_rows_of_now` raise.
    """
    compared = None if champion is None else champion.card
    outputs = count_outputs(pipeline.task, survey, held_out, compared, pipeline.labels.classes)
    card = model_card(pipeline, refresh_id, outputs, encoding)
    if compared is not None:
        require_comparable(compared, card)
        require_rows_of_now(pipeline, compared, card)
    parent, started = _parent(pipeline, champion, card)
    version = None if parent is None else parent.version
    move = None if parent is None else _move(pipeline, card, parent, record_step)
    if move is not None and record_step is not None:
        started += f", its last layer moved by the records of {record_step.rows:,} rows"
    card = card.model_copy(update={"parent_version": version, "started": started})
    return Start(card, pipeline.training.seed, survey, parent, move)


def share_of(step: RecordStep | None, settings: Training) -> torch.Tensor | None:
    """What a training takes of a record step, (1 + width, outputs); None where that is nothing."""
    if step is None or settings.record_step == 0.0:
        return None
    return settings.record_step * torch.tensor(step.move)


def _move(
    pipeline: Pipeline, card: ModelCard, parent: Loaded, step: RecordStep | None
) -> torch.Tensor | None:
    """What a training that begins with the parent takes of a refresh's record step."""
    move = share_of(step, pipeline.training)
    if step is None or move is None or pipeline.model.own:
        return None
    if step.version != parent.version or move.shape != (1 + card.sketch_width, card.outputs):
        log.info("no record step: it is of version %s, or of another last layer", step.version)
        return None
    return move


def _parent(
    pipeline: Pipeline, champion: Loaded | None, card: ModelCard
) -> tuple[Loaded | None, str]:
    """What the training starts from, and in words."""
    if champion is None:
        return None, "from scratch: the first model"
    if not pipeline.training.warm_start:
        return None, "from scratch: training.warm_start = false"
    why = champion.unfit(card)
    if why is None:
        return champion, f"from version {champion.version}"
    started = f"from scratch: version {champion.version} does not fit, {why}"
    log.warning("the training starts %s", started)
    return None, started
