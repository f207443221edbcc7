"""One training, step by step: read, prepare, fit, judge, register.

The first rank leads; the others read the same sample and take their share of each step of the fits.
"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from schemas.bundle import ModelCard
from schemas.counted import Account
from schemas.log import about, log
from schemas.pipeline import Pipeline
from schemas.progress import step
from schemas.registry import CHAMPION
from trainer.data.reader import HeldOut, read_holdout
from trainer.data.refresh import Refresh, open_refresh
from trainer.data.sample import Sample, open_sample
from trainer.data.survey import survey_of
from trainer.features.held_out import Source
from trainer.fitting.cost import ledger_metrics, purpose_of
from trainer.fitting.meter import metered
from trainer.fitting.own_trial import try_own_model
from trainer.fitting.pull import Chosen, choose, to_choose_by
from trainer.fitting.start import Start, prepare
from trainer.fitting.trials import Assignment, Trials
from trainer.models.export import Loaded, load_bundle, save_bundle, serving_model
from trainer.models.model import build_model
from trainer.processes.followers import Followers
from trainer.processes.ranks import Ranks
from trainer.promotion.anchor import Anchor, open_anchor
from trainer.promotion.asked import read_by_each
from trainer.promotion.assess import Assessment
from trainer.promotion.gate import decide
from trainer.promotion.judge import judge, measure, metrics_by_set
from trainer.promotion.record import Record, reports_of, settings_of
from trainer.promotion.registry import Registry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class Trained(NamedTuple):
    """A registered version, and the record of its making."""

    version: "ModelVersion"
    record: Record


@dataclass(frozen=True)
class Leader:
    """The first rank of a training: it does all of it."""

    pipeline: Pipeline
    refresh: Refresh
    registry: Registry
    ranks: Ranks
    followers: Followers
    began: float  # the command, in seconds since 1970

    def train(self) -> Trained:
        """One model more in the registry, promoted if the gate passed."""
        pipeline, refresh, registry = self.pipeline, self.refresh, self.registry
        self.followers.tell(refresh.refresh_id)  # the others read it meanwhile: `follow`
        sample = open_sample(pipeline, refresh, self.ranks)
        with step(f"reading {refresh.held_out:,} held-out rows"):
            held_out = read_holdout(pipeline, refresh)
        with step("fetching the champion"):
            champion = registry.champion()
            folder = registry.folder(champion) if champion else None
            loaded = load_bundle(folder, str(champion.version)) if champion and folder else None
        with step(f"surveying {refresh.drawn:,} rows"):
            survey = survey_of(sample.parts(), pipeline.task)
        start = prepare(
            pipeline,
            refresh.refresh_id,
            survey,
            held_out.rows.label,
            loaded,
            refresh.encoding,
            # Versions of another name are numbered alike.
            refresh.record_step if registry.name == pipeline.name else None,
        )
        held_out = self._for_champion(held_out, loaded)
        if pipeline.model.own:
            settings = settings_of(pipeline, refresh)
            try_own_model(start, pipeline, held_out.rows, refresh.drawn, self.ranks, settings)
        to_choose, to_judge = to_choose_by(pipeline, held_out, warm=start.warm)
        carried = start.carried(pipeline.training)
        several, goes_on = to_choose is not None, carried is not None
        trials = self._assign(sample, start, several=several, carried=goes_on)

        def forward_loss(model: nn.Module) -> float:
            rows = (to_choose or to_judge).rows
            return measure(model, start.card, rows, pipeline.training)["loss"]

        name, warehouse = registry.name, registry.warehouse
        purpose = purpose_of(refresh, name, pipeline.name)
        with metered(warehouse, Account.new(refresh.refresh_id, refresh.ds, purpose)) as meter:
            fits, spent = trials.fit(start.model, carried, meter), meter.total
        with step(f"judging on {len(to_judge.rows.label):,} held-out rows"):
            chosen = choose(fits, forward_loss)
            days = pipeline.gate.anchor_days
            anchor = open_anchor(registry, refresh.ds, days, champion, start.card)
            serving = serving_model(folder) if folder else None
            sets = judge(pipeline, chosen.model, serving, to_judge, anchor.model)
        record = self._record(start.card, chosen, sets, anchor, spent)
        left = chosen.history.optimizer
        write = partial(save_bundle, chosen.model, start.card, optimizer=left)
        with step("registering the model"):
            version = registry.register(record, write)
        trials.remove_checkpoints()
        log.info("%s version %s: %s", name, version.version, record.verdict.reason)
        return Trained(version, record)

    def _for_champion(self, held_out: HeldOut, champion: Loaded | None) -> HeldOut:
        """The held-out rows, as the champion reads them too where its encoding is another."""
        if champion is None:
            return held_out
        source = Source(self.registry.warehouse, self.refresh, self.pipeline)
        return read_by_each(held_out, self.pipeline, source, {CHAMPION: champion.card})

    def _assign(self, sample: Sample, start: Start, *, several: bool, carried: bool) -> Trials:
        """What all ranks fit from here on: a model for each of several pulls, or for the one."""
        settings, name = self.pipeline.training, self.registry.name
        pulls = tuple(settings.pulls) if several else (settings.pull,)
        assignment = Assignment(
            name=name,
            card=start.card,
            warm=start.warm,
            carried=carried,
            pulls=pulls,
            mean_weight=start.survey.mean_weight,
        )
        self.followers.tell_last(assignment.model_dump_json())
        warehouse = self.registry.warehouse
        return Trials(assignment, self.pipeline, self.refresh, sample, warehouse, self.ranks)

    def _record(
        self,
        card: ModelCard,
        chosen: Chosen,
        sets: dict[str, Assessment],
        anchor: Anchor,
        spent: int,
    ) -> Record:
        pipeline, refresh, history = self.pipeline, self.refresh, chosen.history
        own = {"ranks": self.ranks.world, "pull": chosen.pull}
        return Record(
            refresh_id=refresh.refresh_id,
            ds=refresh.ds,
            sample_digest=refresh.sample_digest,
            parent_version=card.parent_version,
            started=card.started,
            verdict=decide(sets, pipeline.gate, anchor.words),
            settings=settings_of(pipeline, refresh) | own,
            metrics={"train": history.metrics()} | chosen.metrics() | metrics_by_set(sets),
            ledger=ledger_metrics(refresh.allowance, spent),
            series={"train_loss": history.losses, "validation_loss": history.validation},
            reports=reports_of(self.registry.warehouse, refresh.refresh_id, sets),
            started_ms=int(self.began * 1000),
            versions=refresh.versions,
        )


def follow(pipeline: Pipeline, warehouse: str, ranks: Ranks) -> None:
    """What every rank but the first does, until the first leads to the end or dismisses it."""
    refresh_id = ranks.broadcast()
    if refresh_id is None:
        return
    refresh = open_refresh(warehouse, pipeline, refresh_id)
    about(pipeline=pipeline.name, ds=refresh.ds, refresh_id=refresh_id, rank=ranks.rank)
    sample = open_sample(pipeline, refresh, ranks)
    told = ranks.broadcast()
    if told is None:
        return
    assignment = Assignment.model_validate_json(told)
    trials = Trials(assignment, pipeline, refresh, sample, warehouse, ranks)
    trials.fit(partial(build_model, assignment.card, pipeline.training.seed))
