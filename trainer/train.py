"""`tenforward train`: one refresh in, one registered model out, promoted if the gate passes.

tenforward train --pipeline pipelines/flights.toml --refresh REFRESH
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities.model_registry import ModelVersion

from schemas.bundle import ModelCard, model_inputs, registry_exists, tracking_uri
from schemas.command import add_common_arguments, log, run_command
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from schemas.pipeline import Pipeline, load_pipeline
from schemas.tables import MAX_LOGITS
from trainer.evaluate import Metrics, evaluate
from trainer.export import Loaded, load_bundle, predict, save_bundle
from trainer.fit import fit
from trainer.gate import decide
from trainer.lock import exclusive
from trainer.model import DEFAULT_MODEL, build_model, sketch_width, standardise
from trainer.reader import Rows, read_holdout, read_sampled
from trainer.refresh import Refresh, newest_refresh, open_refresh
from trainer.registry import Record, Registry, open_registry

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


def _outcome(version: ModelVersion, promoted: bool) -> dict[str, Any]:
    """What a registered version says of its own making."""
    parent = version.tags.get("parent_version")
    return {
        "version": str(version.version),
        "parent_version": None if parent == "none" else parent,
        "promoted": promoted,
        "reason": version.tags.get("gate_reason", ""),
        "run_id": version.run_id,
    }


def _plan(refresh: Refresh, champion: ModelVersion | None) -> dict[str, Any]:
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
    champion: ModelVersion | None,
    began: float,
) -> dict[str, Any]:
    """Read, fit, compare with the champion, register; the part of the result they decide."""
    rows, held_out = read_sampled(pipeline, refresh), read_holdout(pipeline, refresh)
    serving = None if champion is None else load_bundle(registry.folder(champion))
    card = _card(pipeline, refresh, _outputs(pipeline.task, rows, held_out, serving))
    if serving is not None:
        _require_comparable(serving.card, card)
    parent = serving if pipeline.training.warm_start else None
    if parent is not None and not parent.card.same_shape(card):
        log.info("the champion has other layers: starting from scratch")
        parent = None
    if champion is not None and parent is not None:
        card = card.model_copy(update={"parent_version": str(champion.version)})

    model = build_model(card, pipeline.training.seed)
    if parent is None:
        standardise(model, rows.numbers, rows.weight)
    else:
        model.load_state_dict(parent.weights)
    pulled_to = None if parent is None else parent.weights
    losses = fit(model, rows, pipeline.task, pipeline.training, pulled_to)

    metrics = {"challenger": _measure(model, card, held_out)}
    if serving is not None:
        metrics["champion"] = _measure(serving.model(), serving.card, held_out)
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


def _card(pipeline: Pipeline, refresh: Refresh, outputs: int) -> ModelCard:
    return ModelCard(
        pipeline=pipeline.name,
        task=pipeline.task,
        architecture=DEFAULT_MODEL,
        hidden=pipeline.training.hidden,
        features=model_inputs(pipeline),
        outputs=outputs,
        sketch_width=sketch_width(pipeline.training.hidden),
        refresh_id=refresh.refresh_id,
    )


def _settings(pipeline: Pipeline, refresh: Refresh) -> dict[str, Any]:
    """What decided this training, for the run's parameters."""
    origin = {"policy": refresh.policy, "ds": refresh.ds, "rows": refresh.drawn}
    return pipeline.training.model_dump() | origin


def _measure(model: Any, card: ModelCard, held_out: Rows) -> Metrics:
    output = predict(model, held_out)
    return evaluate(
        card.task, output if card.task == "multiclass" else output[:, 0], held_out.label
    )


def _require_comparable(champion: ModelCard, card: ModelCard) -> None:
    """The gate measures both on the same rows, so both must be able to read them."""
    if (champion.task, champion.features, champion.outputs) != (
        card.task,
        card.features,
        card.outputs,
    ):
        raise ConfigurationError(
            "features: the champion was trained on other features, buckets or classes and cannot"
            " be measured on these rows. Remedy: restore them in the pipeline file, or start a new"
            " line of models with --model NAME."
        )


def _outputs(task: str, rows: Rows, held_out: Rows, serving: Loaded | None) -> int:
    """Outputs of the model: 1, or the number of classes; labels that do not fit are refused."""
    if len(rows) == 0:
        raise NoDataError("the refresh has no rows. Remedy: widen the window, or raise the budget.")
    if rows.weight.sum() <= 0:
        raise DataQualityError("weight: the sample's weights sum to 0. Remedy: select again.")
    labels = np.unique(np.concatenate([rows.label, held_out.label]))
    if task == "regression":
        return 1
    classes = 2 if task == "binary" else MAX_LOGITS
    strange = labels[(labels % 1 != 0) | (labels < 0) | (labels >= classes)]
    if strange.size:
        raise DataQualityError(
            f"label = {strange[0]}: not a class from 0 to {classes - 1} of task {task!r}."
            " Remedy: correct the label column, or set task in the pipeline file."
        )
    if task == "binary":
        return 1
    return serving.card.outputs if serving else int(labels.max()) + 1


def _job(argv: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="tenforward train", description=__doc__.split("\n\n")[0])
    add_common_arguments(parser)
    parser.add_argument("--refresh", default=LATEST, help="refresh id (default: the newest)")
    parser.add_argument("--model", metavar="NAME", help="registry name (default: the pipeline's)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be read, then stop")
    parser.add_argument("--force", action="store_true", help="train again on a trained refresh")
    args = parser.parse_args(argv)
    return train_refresh(
        load_pipeline(args.pipeline),
        args.warehouse,
        None if args.refresh == LATEST else args.refresh,
        model_name=args.model,
        dry_run=args.dry_run,
        force=args.force,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(_job, argv)


if __name__ == "__main__":
    raise SystemExit(main())
