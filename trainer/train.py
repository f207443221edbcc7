"""`tenforward train`: one refresh in, one registered model out, promoted if the gate passes.

On several processes of one machine, or of several with torchrun:

    tenforward train --pipeline P --refresh R --processes 2
    torchrun --nproc-per-node 2 -m trainer.train --pipeline P --refresh R
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from schemas.bundle import ModelCard
from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.log import about, log
from schemas.manifests import REPORT_CARDS
from schemas.pipeline import Pipeline
from schemas.places import filesystem, size_of, state_folder, within
from schemas.registry import registry_exists, tracking_uri
from trainer.data.reader import Rows, read_holdout
from trainer.data.refresh import Refresh, newest_refresh, open_refresh
from trainer.data.sample import Sample, open_sample
from trainer.data.survey import Survey, survey_of
from trainer.fitting.checkpoint import Checkpoint
from trainer.fitting.checks import count_outputs, require_comparable
from trainer.fitting.fit import History, fit
from trainer.fitting.pull import fit_best, to_choose_by, trial_name
from trainer.models.export import (
    Loaded,
    load_bundle,
    require_exportable,
    save_bundle,
    serving_model,
)
from trainer.models.model import build_model, model_card, standardise
from trainer.processes.launch import launch
from trainer.processes.lock import exclusive
from trainer.processes.ranks import Ranks, alone, helps, joined, launched
from trainer.promotion.assess import Assessment
from trainer.promotion.gate import decide
from trainer.promotion.judge import judge, measure, told
from trainer.promotion.registry import Record, Registry, open_registry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

LATEST = "latest"


def train_refresh(
    pipeline: Pipeline,
    warehouse: str,
    refresh_id: str | None = None,
    *,
    model_name: str | None = None,
    dry_run: bool = False,
    force: bool = False,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Train on a refresh (None: the newest), register the model, promote it if the gate passes.

    A sample that was trained on before is not trained on again unless `force`. `model_name` is
    the registry's name, by default the pipeline's; a comparison trains under another one. Of
    several ranks the first does all this; the others fit along.
    """
    began = time.time()
    ranks = ranks or alone()
    name = model_name or pipeline.name
    if not ranks.first:
        fit_along(pipeline, warehouse, ranks)
        return {"status": "done", "rank": ranks.rank}
    refresh = open_refresh(warehouse, pipeline, refresh_id or newest_refresh(warehouse, pipeline))
    about(pipeline=pipeline.name, ds=refresh.ds, refresh_id=refresh.refresh_id, model=name)
    result = {
        "pipeline": pipeline.name,
        "refresh_id": refresh.refresh_id,
        "model": name,
        "rows": refresh.drawn,
        "tracking_uri": tracking_uri(warehouse),
    }
    if dry_run and not registry_exists(warehouse):
        ranks.told(None)
        return {"status": "planned"} | result | _plan(refresh, None)
    with exclusive(state_folder(warehouse) / f".train-{name}.lock", wait=False):
        registry = open_registry(warehouse, pipeline.name, name)
        before = registry.trained(refresh.refresh_id, refresh.sample_digest)
        if before is not None and not force:
            ranks.told(None)
            status = "already done" if refresh_id else "nothing to do"
            promoted = registry.finish_promotion(before)
            return {"status": status} | result | _outcome(before, promoted)
        champion = registry.champion()
        if dry_run:
            ranks.told(None)
            return {"status": "planned"} | result | _plan(refresh, champion)
        ranks.told(refresh.refresh_id)
        result |= _train(pipeline, refresh, registry, champion, began, ranks)
    return {"status": "done"} | result | {"seconds": round(time.time() - began, 3)}


def fit_along(pipeline: Pipeline, warehouse: str, ranks: Ranks) -> None:
    """What every rank but the first does: read the same sample and take its share of each step."""
    refresh_id = ranks.told()
    if refresh_id is None:
        return
    refresh = open_refresh(warehouse, pipeline, refresh_id)
    sample = open_sample(pipeline, refresh, ranks)
    task = json.loads(ranks.told() or "{}")
    card = ModelCard.model_validate(task["card"])

    def fitted(trial: Pipeline) -> tuple[nn.Module, History]:
        # Its weights come from the first rank.
        model = build_model(card, pipeline.training.seed)
        name = trial_name(task["name"], trial, task["pulls"])
        checkpoint = checkpoint_of(trial, refresh, card, warehouse, name)
        return model, _fit(trial, model, sample, task["warm"], ranks, checkpoint)

    fit_best(pipeline, task["pulls"], fitted, lambda model: 0.0)


def _fit(
    pipeline: Pipeline,
    model: nn.Module,
    sample: Sample,
    warm: bool,
    ranks: Ranks,
    checkpoint: Checkpoint,
) -> History:
    settings = pipeline.training
    return fit(
        model, sample, pipeline.task, settings, pulled=warm, ranks=ranks, checkpoint=checkpoint
    )


def _outcome(version: "ModelVersion", promoted: bool) -> dict[str, Any]:
    """What a registered version says of its own making."""
    parent = version.tags.get("parent_version")
    return {
        "version": str(version.version),
        "parent_version": None if parent == "none" else parent,
        "promoted": promoted,
        "reason": version.tags.get("gate_reason", ""),
        "run_id": version.run_id,
    }


def _plan(refresh: Refresh, champion: "ModelVersion | None") -> dict[str, Any]:
    """What a training would read and compare with."""
    return {
        "files": len(refresh.sampled),
        "bytes": sum(file.bytes for file in refresh.sampled),
        "held_out": refresh.held_out,
        "champion_version": None if champion is None else str(champion.version),
    }


def _train(
    pipeline: Pipeline,
    refresh: Refresh,
    registry: Registry,
    champion: "ModelVersion | None",
    began: float,
    ranks: Ranks,
) -> dict[str, Any]:
    """Read, fit, compare with the champion, register; the part of the result they decide."""
    sample, held_out = open_sample(pipeline, refresh, ranks), read_holdout(pipeline, refresh)
    folder = None if champion is None else registry.folder(champion)
    serving = None if folder is None else load_bundle(folder)
    serving_card = None if serving is None else serving.card
    survey = survey_of(sample.parts(), pipeline.task)
    classes, labels = pipeline.labels.classes, held_out.rows.label
    outputs = count_outputs(pipeline.task, survey, labels, serving_card, classes)
    card = model_card(pipeline, refresh.refresh_id, outputs)
    if serving_card is not None:
        require_comparable(serving_card, card)
    parent = serving if pipeline.training.warm_start else None
    if parent is not None and not parent.fits(card):
        log.info("the champion has other layers: starting from scratch")
        parent = None
    if champion is not None and parent is not None:
        card = card.model_copy(update={"parent_version": str(champion.version)})
    to_choose, to_judge = to_choose_by(pipeline, held_out, warm=parent is not None)
    pulls = [pipeline.training.pull] if to_choose is None else list(pipeline.training.pulls)
    task = {"card": card.model_dump(), "warm": parent is not None, "name": registry.name}
    ranks.told(json.dumps(task | {"pulls": pulls}))
    checkpoints: list[Checkpoint] = []

    def fitted(trial: Pipeline) -> tuple[nn.Module, History]:
        model = start(card, pipeline.training.seed, survey, parent)
        if pipeline.model.own:
            require_exportable(model, card)
        name = trial_name(registry.name, trial, pulls)
        checkpoint = checkpoint_of(trial, refresh, card, registry.warehouse, name)
        checkpoints.append(checkpoint)
        return model, _fit(trial, model, sample, parent is not None, ranks, checkpoint)

    def forward_loss(model: nn.Module) -> float:
        return measure(model, card, (to_choose or to_judge).rows, pipeline.training)["loss"]

    tried = fit_best(pipeline, pulls, fitted, forward_loss)
    model, history = tried.model, tried.history
    sets = judge(pipeline, model, None if folder is None else serving_model(folder), to_judge)
    metrics = {"train": history.metrics()} | tried.metrics() | told(sets)
    record = Record(
        refresh_id=refresh.refresh_id,
        sample_digest=refresh.sample_digest,
        parent_version=card.parent_version,
        decision=decide(sets, pipeline.gate),
        settings=_settings(pipeline, refresh) | {"ranks": ranks.world, "pull": tried.pull},
        metrics=metrics,
        series={"train_loss": history.losses, "validation_loss": history.validation},
        reports=_reports(registry.warehouse, refresh.refresh_id, sets),
        started_ms=int(began * 1000),
    )
    version = registry.register(record, lambda folder: save_bundle(model, card, folder))
    for checkpoint in checkpoints:
        checkpoint.remove()
    log.info("%s version %s: %s", registry.name, version.version, record.decision.reason)
    return _outcome(version, record.decision.passed) | {"metrics": metrics}


def start(card: ModelCard, seed: int, survey: Survey, parent: Loaded | None) -> nn.Module:
    """The model before its first step: its parent's weights, or fresh ones fitted to the scale
    of the rows."""
    model = build_model(card, seed)
    if parent is None:
        standardise(model, survey)
    else:
        model.load_state_dict(parent.weights)
    return model


def fitted(
    pipeline: Pipeline, card: ModelCard, rows: Rows, parent: Loaded | None
) -> tuple[nn.Module, History]:
    """A model fitted to rows in memory, in one process and without a registry."""
    survey = survey_of([rows], pipeline.task)
    model = start(card, pipeline.training.seed, survey, parent)
    pulled = parent is not None
    return model, fit(model, rows, pipeline.task, pipeline.training, pulled=pulled)


def checkpoint_of(
    pipeline: Pipeline, refresh: Refresh, card: ModelCard, warehouse: str, name: str
) -> Checkpoint:
    """The checkpoint of this training: of this sample, this model and these settings."""
    settings = json.dumps(pipeline.training.decides(), sort_keys=True) + card.model_dump_json()
    belongs = {
        "model": name,
        "refresh": refresh.refresh_id,
        "sample": refresh.sample_digest,
        "configuration": hashlib.sha256(settings.encode()).hexdigest(),
    }
    return Checkpoint(state_folder(warehouse) / "checkpoints" / f"{name}.safetensors", belongs)


def _settings(pipeline: Pipeline, refresh: Refresh) -> dict[str, Any]:
    """What decided this training, for the run's parameters."""
    origin = {"policy": refresh.policy, "ds": refresh.ds, "rows": refresh.drawn}
    own = {f"model.{name}": value for name, value in pipeline.model.resolved().items()}
    model = {"model": pipeline.model.name} | own
    return pipeline.training.model_dump() | model | origin


def _reports(warehouse: str, refresh_id: str, sets: dict[str, Assessment]) -> dict[str, str]:
    """Files for the run: what the gate saw, and the refresh's report card where it is at hand."""
    found = {name: one.as_dict() for name, one in sets.items()}
    reports = {"evaluation.json": json.dumps(found, indent=1)}
    card = within(warehouse, f"{REPORT_CARDS}/{refresh_id}.html")
    if size_of(card) is not None:
        store, path = filesystem(card)
        with store.open_input_stream(path) as file:
            reports["report_card.html"] = file.read().decode()
    return reports


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="tenforward train", description=__doc__)
    add_common_arguments(line)
    line.add_argument("--refresh", default=LATEST, help="refresh id (default: the newest)")
    line.add_argument("--model", metavar="NAME", help="registry name (default: the pipeline's)")
    line.add_argument("--dry-run", action="store_true", help="say what would be read, then stop")
    line.add_argument("--force", action="store_true", help="train again on a trained refresh")
    line.add_argument(
        "--processes", type=int, default=1, metavar="N", help="train on N processes (%(default)s)"
    )
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> training."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    with joined() as ranks:
        return train_refresh(
            pipeline,
            args.warehouse,
            None if args.refresh == LATEST else args.refresh,
            model_name=args.model,
            dry_run=args.dry_run,
            force=args.force,
            ranks=ranks,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if helps():
        os.dup2(2, 1)  # stdout carries one result: the first rank's
    elif not launched() and (processes := wanted_processes(arguments)) > 1:
        return launch(processes, arguments)
    return run_command(command, arguments)


def wanted_processes(arguments: Sequence[str]) -> int:
    """What --processes says; argparse reports everything else later, in one process."""
    line = argparse.ArgumentParser(add_help=False)
    line.add_argument("--processes", type=int, default=1)
    return int(line.parse_known_args(arguments)[0].processes)


if __name__ == "__main__":
    raise SystemExit(main())
