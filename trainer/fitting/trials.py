"""The fits of one training, alike on every rank: one, or one for each pull that is tried."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from torch import nn

from schemas.bundle import ModelCard
from schemas.pipeline import Pipeline
from schemas.places import state_folder
from schemas.record_step import RecordStep
from trainer.data.epoch import ORDER
from trainer.data.reader import Rows
from trainer.data.refresh import Refresh
from trainer.data.sample import Sample
from trainer.data.survey import survey_of
from trainer.fitting.checkpoint import Checkpoint
from trainer.fitting.fit import Fitted, fit
from trainer.fitting.meter import Meter
from trainer.fitting.pull import with_pull
from trainer.fitting.start import Start, share_of
from trainer.models.export import Loaded
from trainer.models.optimizer_state import OptimizerState
from trainer.models.own_model import failed, own_line
from trainer.processes.ranks import Ranks


class Assignment(BaseModel):
    """What the ranks fit together: the first rank sends it, each of the others receives it."""

    # A mean weight of NaN travels too: it is refused on every rank, by its name.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    name: str  # of the model in the registry
    card: ModelCard
    warm: bool  # the model begins with its parent's weights, and is pulled to them
    carried: bool  # its optimizer goes on from its parent's state
    pulls: tuple[float, ...]  # a trial each
    mean_weight: float  # of the sample, which the first rank has surveyed


@dataclass(frozen=True)
class Trials:
    """The fits of an assignment, on one of its ranks."""

    assignment: Assignment
    pipeline: Pipeline
    refresh: Refresh
    sample: Sample
    warehouse: str
    ranks: Ranks

    def fit(
        self,
        start: Callable[[], nn.Module],
        carried: OptimizerState | None = None,
        meter: Meter | None = None,
    ) -> dict[float, Fitted]:
        """A model for each pull, from what `start` gives. The weights and the optimizer's state to
        start from are the first rank's, and so is the meter. Every rank calls this."""
        return {pull: self._fit(pull, start(), carried, meter) for pull in self.assignment.pulls}

    def remove_checkpoints(self) -> None:
        """The training is over."""
        for pull in self.assignment.pulls:
            self._checkpoint(pull).remove()

    def _fit(
        self, pull: float, model: nn.Module, carried: OptimizerState | None, meter: Meter | None
    ) -> Fitted:
        if self.assignment.carried and carried is None:  # not the first rank
            carried = OptimizerState.blank(self.pipeline.training.optimizer, model)
        try:
            history = fit(
                model,
                self.sample,
                self.pipeline.task,
                with_pull(self.pipeline, pull).training,
                pulled=self.assignment.warm,
                ranks=self.ranks,
                checkpoint=self._checkpoint(pull),
                mean_weight=self.assignment.mean_weight,
                meter=meter,
                carried=carried,
            )
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            name = self.pipeline.model.name
            if not self.pipeline.model.own or own_line(error, name) is None:
                raise
            remedy = (
                "mend the line, then repeat the command: while the network keeps its shape, it goes"
                " on from the last checkpoint"
            )
            raise failed("its training failed", error, name, remedy) from error
        return Fitted(model, history)

    def _checkpoint(self, pull: float) -> Checkpoint:
        """The checkpoint of this trial: of this sample, this model and these settings."""
        name, card = self.assignment.name, self.assignment.card
        if len(self.assignment.pulls) > 1:
            name = f"{name}-pull-{pull:g}"
        decisive = with_pull(self.pipeline, pull).training.decides()
        settings = json.dumps(decisive, sort_keys=True) + card.model_dump_json()
        belongs = {
            "model": name,
            "refresh": self.refresh.refresh_id,
            "sample": self.refresh.sample_digest,
            "configuration": hashlib.sha256(settings.encode()).hexdigest(),
            "order of rows": str(ORDER),
        }
        folder = state_folder(self.warehouse) / "checkpoints"
        return Checkpoint(folder / f"{name}.safetensors", belongs)


def fit_rows(
    pipeline: Pipeline,
    card: ModelCard,
    rows: Rows,
    parent: Loaded | None,
    record_step: RecordStep | None = None,
) -> Fitted:
    """A model fitted to rows in memory: one process, no registry, no checkpoint.

    record_step: of the parent's records.
    """
    settings, survey = pipeline.training, survey_of([rows], pipeline.task)
    start = Start(card, settings.seed, survey, parent, share_of(record_step, settings))
    model = start.model()
    history = fit(
        model,
        rows,
        pipeline.task,
        settings,
        pulled=start.warm,
        mean_weight=survey.mean_weight,
        carried=start.carried(settings),
    )
    return Fitted(model, history)
