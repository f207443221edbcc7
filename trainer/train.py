"""`tenforward train`: one refresh in, one registered model out, promoted if the gate passes."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from schemas.bundle import ModelCard, model_inputs, registry_exists, tracking_uri
from schemas.command import add_common_arguments, log, run_command
from schemas.pipeline import Pipeline, load_pipeline
from trainer.checks import count_outputs, require_comparable
from trainer.evaluate import Metrics, evaluate
from trainer.export import Loaded, load_bundle, predict, save_bundle
from trainer.fit import fit
from trainer.gate import decide
from trainer.lock import exclusive
from trainer.model import DEFAULT_MODEL, build_model, sketch_width, standardise
from trainer.reader import Rows, read_holdout, read_sampled
from trainer.refresh import Refresh, newest_refresh, open_refresh
from trainer.registry import Record, Registry, open_registry

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
) -> dict[str, Any]:
    """Train on a refresh (None: the newest), register the model, promote it if the gate passes.

    A sample that was trained on before is not trained on again unless `force`. `model_name` is
    the registry's name, by default the pipeline's; a comparison trains under another one.
    """
    began = time.time()
    name = model_name or pipeline.name
    refresh = open_refresh(warehouse, pipeline, refresh_id or newest_refresh(warehouse, pipeline))
    result = {
        "pipeline": pipeline.name,
        "refresh_id": refresh.refresh_id,
        "model": name,
        "rows": refresh.drawn,
        "tracking_uri": tracking_uri(warehouse),
    }
    if dry_run and not registry_exists(warehouse):
        return {"status": "planned"} | result | _plan(refresh, None)
    with exclusive(Path(warehouse) / f".train-{name}.lock", wait=False):
        registry = open_registry(warehouse, pipeline.name, name)
        before = registry.trained(refresh.refresh_id, refresh.sample_digest)
        if before is not None and not force:
            status = "already done" if refresh_id else "nothing to do"
            promoted = registry.finish_promotion(before)
            return {"status": status} | result | _outcome(before, promoted)
        champion = registry.champion()
        if dry_run:
            return {"status": "planned"} | result | _plan(refresh, champion)
        result |= _train(pipeline, refresh, registry, champion, began)
    return {"status": "done"} | result | {"seconds": round(time.time() - began, 3)}


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
) -> dict[str, Any]:
    """Read, fit, compare with the champion, register; the part of the result they decide."""
    rows, held_out = read_sampled(pipeline, refresh), read_holdout(pipeline, refresh)
    serving = None if champion is None else load_bundle(registry.folder(champion))
    serving_card = None if serving is None else serving.card
    outputs = count_outputs(pipeline.task, rows, held_out, serving_card)
    card = model_card(pipeline, refresh.refresh_id, outputs)
    if serving_card is not None:
        require_comparable(serving_card, card)
    parent = serving if pipeline.training.warm_start else None
    if parent is not None and not parent.card.same_shape(card):
        log.info("the champion has other layers: starting from scratch")
        parent = None
    if champion is not None and parent is not None:
        card = card.model_copy(update={"parent_version": str(champion.version)})
    started = time.perf_counter()
    model, losses = fitted(pipeline, card, rows, parent)
    speed = len(rows) * pipeline.training.epochs / (time.perf_counter() - started)
    # What a budget in GPU hours is turned into rows by (spark_jobs/budget.py).
    metrics = {"train": {"rows_per_second": speed}, "challenger": measure(model, card, held_out)}
    if serving is not None:
        metrics["champion"] = measure(serving.model(), serving.card, held_out)
    record = Record(
        refresh_id=refresh.refresh_id,
        sample_digest=refresh.sample_digest,
        parent_version=card.parent_version,
        decision=decide(metrics["challenger"], metrics.get("champion"), pipeline.gate),
        settings=_settings(pipeline, refresh),
        metrics=metrics,
        epoch_losses=losses,
        started_ms=int(began * 1000),
    )
    version = registry.register(record, lambda folder: save_bundle(model, card, folder))
    log.info("%s version %s: %s", registry.name, version.version, record.decision.reason)
    return _outcome(version, record.decision.passed) | {"metrics": metrics}


def fitted(
    pipeline: Pipeline, card: ModelCard, rows: Rows, parent: Loaded | None
) -> tuple[nn.Module, list[float]]:
    """The fitted model, from scratch or from its parent, and the loss of each epoch."""
    model = build_model(card, pipeline.training.seed)
    if parent is None:
        standardise(model, rows.numbers, rows.weight)
        return model, fit(model, rows, pipeline.task, pipeline.training)
    model.load_state_dict(parent.weights)
    return model, fit(model, rows, pipeline.task, pipeline.training, parent.weights)


def model_card(pipeline: Pipeline, refresh_id: str, outputs: int) -> ModelCard:
    """The card of the pipeline's model, trained from scratch on a refresh."""
    return ModelCard(
        pipeline=pipeline.name,
        task=pipeline.task,
        architecture=DEFAULT_MODEL,
        hidden=pipeline.training.hidden,
        features=model_inputs(pipeline),
        outputs=outputs,
        sketch_width=sketch_width(pipeline.training.hidden),
        refresh_id=refresh_id,
    )


def _settings(pipeline: Pipeline, refresh: Refresh) -> dict[str, Any]:
    """What decided this training, for the run's parameters."""
    origin = {"policy": refresh.policy, "ds": refresh.ds, "rows": refresh.drawn}
    return pipeline.training.model_dump() | origin


def measure(model: nn.Module, card: ModelCard, held_out: Rows) -> Metrics:
    """How well a model answers for held-out rows."""
    output = predict(model, held_out)
    return evaluate(
        card.task, output if card.task == "multiclass" else output[:, 0], held_out.label
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="tenforward train", description=__doc__)
    add_common_arguments(line)
    line.add_argument("--refresh", default=LATEST, help="refresh id (default: the newest)")
    line.add_argument("--model", metavar="NAME", help="registry name (default: the pipeline's)")
    line.add_argument("--dry-run", action="store_true", help="say what would be read, then stop")
    line.add_argument("--force", action="store_true", help="train again on a trained refresh")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> training."""
    args = parser().parse_args(argv)
    return train_refresh(
        load_pipeline(args.pipeline),
        args.warehouse,
        None if args.refresh == LATEST else args.refresh,
        model_name=args.model,
        dry_run=args.dry_run,
        force=args.force,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
