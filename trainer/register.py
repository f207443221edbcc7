"""`tenforward register`: a model that was trained elsewhere, through the gate into the registry.

tenforward register --pipeline pipelines/flights.toml --model model.pt2 --refresh REFRESH
tenforward register --pipeline pipelines/flights.toml --model bundle/ --refresh REFRESH --dry-run
tenforward register --pipeline pipelines/flights.toml --version 7 --refresh LATER

A file is a program of `torch.export.save` that takes the pipeline's features; a folder is a bundle
(program.pt2, model.json, and weights.safetensors where it has any). It is judged on the held-out
rows of the refresh that it was trained on, beside the champion, by the limits of [gate].

A version that is registered already faces the gate once more, by what `tenforward estimate
--refresh LATER --challenger 7 --for-gate` found over all instances of a later refresh.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.all_traffic import require_equal_rows
from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.encoding import encoding_of
from schemas.errors import ConfigurationError, DataQualityError
from schemas.lock import exclusive
from schemas.log import about, log
from schemas.pipeline import Pipeline
from schemas.places import state_folder
from schemas.registry import CHAMPION, registry_exists, tracking_uri
from trainer.data.reader import HeldOut, read_holdout
from trainer.data.refresh import Refresh, open_refresh
from trainer.features.held_out import Source
from trainer.fitting.checks import require_comparable
from trainer.models.elsewhere import Foreign, open_model
from trainer.models.export import load_bundle, serving_model
from trainer.promotion.all_traffic import judged_again, require_version, serve_if_passed
from trainer.promotion.anchor import Anchor, open_anchor
from trainer.promotion.asked import read_by_each
from trainer.promotion.gate import decide
from trainer.promotion.judge import CHALLENGER, judge, metrics_by_set
from trainer.promotion.record import Record, reports_of
from trainer.promotion.registry import Registry, open_registry, require_model_name

REFRESH = "the refresh that it was trained on; `tenforward status` lists them"

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def register(
    pipeline: Pipeline,
    warehouse: str,
    model: Path,
    refresh_id: str,
    *,
    name: str | None = None,
    parent: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Judge a model, and register it; promoted if the gate passes. The result of the command.

    model: a file or a folder. refresh_id: what it was trained on, whose held-out rows judge it.
    name: the registry's, by default the pipeline's. parent: the version whose weights it began
    with. The same file of the same refresh is registered once.

    Raises ConfigurationError for a model that is none, is refused or cannot answer, and for a
    refresh or a parent that is not there; DataQualityError for a refresh that is damaged.
    """
    name = name or pipeline.name
    require_model_name(name)
    about(pipeline=pipeline.name, refresh_id=refresh_id, model=name)
    refresh = open_refresh(warehouse, pipeline, refresh_id)
    about(pipeline=pipeline.name, ds=refresh.ds, refresh_id=refresh_id, model=name)
    held_out = read_holdout(pipeline, refresh)
    encoding = refresh.encoding or encoding_of(pipeline)
    foreign = open_model(model, pipeline, refresh_id, encoding, held_out.rows.inputs)
    result = {
        "pipeline": pipeline.name,
        "refresh_id": refresh_id,
        "model": name,
        "digest": foreign.digest,
        "tracking_uri": tracking_uri(warehouse),
    }
    if dry_run and not registry_exists(warehouse):
        trial = Trial(pipeline, warehouse, refresh, foreign, None, model)
        return {"status": "planned"} | result | _planned(trial.record(held_out, parent))
    with exclusive(state_folder(warehouse) / f".train-{name}.lock", wait=False):
        registry = open_registry(warehouse, pipeline.name, name)
        if parent is not None:
            registry.version(parent, "--parent")
        before = registry.given(refresh_id, foreign.digest)
        if before is not None:
            promoted = registry.finish_promotion(before)
            return {"status": "already done"} | result | _outcome(before, promoted)
        trial = Trial(pipeline, warehouse, refresh, foreign, registry, model)
        record = trial.record(held_out, parent)
        if dry_run:
            return {"status": "planned"} | result | _planned(record)
        version = registry.register(record, foreign.write)
    log.info("%s version %s: %s", name, version.version, record.verdict.reason)
    outcome = _outcome(version, record.verdict.passed)
    return {"status": "done"} | result | outcome | {"metrics": record.metrics}


def judge_again(
    pipeline: Pipeline,
    warehouse: str,
    number: str,
    refresh_id: str,
    *,
    name: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """A version before the gate once more, by what was measured of it on a later refresh; it serves
    if the gate passes, and stays what it is if not. The result of the command.

    Raises ConfigurationError where there is no such version, where it was rolled back from, and
    where it was not measured on the refresh beside the models of now.
    """
    name = name or pipeline.name
    require_model_name(name)
    about(pipeline=pipeline.name, refresh_id=refresh_id, model=name, version=number)
    if not registry_exists(warehouse):
        raise ConfigurationError(f"--version = {number}: no model yet. Remedy: train one.")
    result = {"pipeline": pipeline.name, "refresh_id": refresh_id, "model": name, "version": number}
    with exclusive(state_folder(warehouse) / f".train-{name}.lock", wait=False):
        registry = open_registry(warehouse, pipeline.name, name)
        version = require_version(registry, number)
        champion = registry.champion()
        if champion is not None and str(champion.version) == number:
            return {"status": "already done"} | result | _outcome(version, promoted=True)
        verdict = judged_again(registry, pipeline, version, refresh_id)
        if dry_run:
            verdict_told = {"passed": verdict.passed, "reason": verdict.reason}
            return {"status": "planned"} | result | verdict_told
        serve_if_passed(registry, version, verdict)
    log.info("%s version %s: %s", name, number, verdict.reason)
    return {"status": "done"} | result | {"promoted": verdict.passed, "reason": verdict.reason}


@dataclass(frozen=True)
class Trial:
    """A model from elsewhere before the gate. registry: None before the first model."""

    pipeline: Pipeline
    warehouse: str
    refresh: Refresh
    foreign: Foreign
    registry: Registry | None
    place: Path

    def record(self, held_out: HeldOut, parent: str | None) -> Record:
        """What is kept of it: the gate's verdict, metrics, origin."""
        began, pipeline, card = time.time(), self.pipeline, self.foreign.card
        champion = self.registry.champion() if self.registry else None
        folder = self.registry.folder(champion) if self.registry and champion else None
        cards, serving, anchor = {CHALLENGER: card}, None, Anchor("no anchor: no model yet")
        if self.registry is not None:
            days = pipeline.gate.anchor_days
            anchor = open_anchor(self.registry, self.refresh.ds, days, champion, card)
        if folder is not None:
            cards[CHAMPION], serving = load_bundle(folder).card, serving_model(folder)
            require_comparable(cards[CHAMPION], card)
        self._require_labels(held_out)
        source = Source(self.warehouse, self.refresh, self.pipeline)
        held_out = read_by_each(held_out, pipeline, source, cards)
        self.foreign.answers(held_out.others[CHALLENGER], self.place)
        sets = judge(pipeline, self.foreign.program, serving, held_out, anchor.model)
        return Record(
            refresh_id=self.refresh.refresh_id,
            ds=self.refresh.ds,
            sample_digest=self.refresh.sample_digest,
            parent_version=parent,
            verdict=decide(sets, pipeline.gate, anchor.words),
            settings={"policy": self.refresh.policy, "ds": self.refresh.ds, "model": "elsewhere"},
            metrics=metrics_by_set(sets),
            ledger={},
            series={},
            reports=reports_of(self.warehouse, self.refresh.refresh_id, sets),
            started_ms=int(began * 1000),
            versions=self.refresh.versions,
            started=card.started,
            given=self.foreign.digest,
        )

    def _require_labels(self, held_out: HeldOut) -> None:
        """Refuse held-out labels that are no class of the model."""
        labels, outputs = held_out.rows.label, self.foreign.card.outputs
        classes = outputs if self.pipeline.task == "multiclass" else 2
        if self.pipeline.task != "regression" and len(labels) and np.max(labels) >= classes:
            raise DataQualityError(
                f"label = {np.max(labels):g}: --model {self.place} knows classes 0 to"
                f" {classes - 1}. Remedy: train it on all classes, or correct the labels."
            )


def _planned(record: Record) -> dict[str, Any]:
    """What the gate says of a model that is not registered."""
    verdict = record.verdict
    return {"passed": verdict.passed, "reason": verdict.reason, "metrics": record.metrics}


def _outcome(version: "ModelVersion", promoted: bool) -> dict[str, Any]:
    parent = version.tags.get("parent_version")
    return {
        "version": str(version.version),
        "parent_version": None if parent == "none" else parent,
        "promoted": promoted,
        "reason": version.tags.get("gate_reason", ""),
        "run_id": version.run_id,
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward register",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common_arguments(line)
    line.add_argument(
        "--model",
        type=Path,
        metavar="PLACE",
        help="a file of torch.export.save, or the folder of a bundle",
    )
    line.add_argument(
        "--version", metavar="V", help="instead of --model: one that is registered, once more"
    )
    line.add_argument(
        "--refresh",
        help="what it was trained on; of several, the latest. With --version: a later one, on which"
        " `estimate --for-gate` measured it",
    )
    line.add_argument("--parent", metavar="VERSION", help="whose weights it began with, if any's")
    line.add_argument("--name", help="in the registry (default: the pipeline's)")
    line.add_argument("--dry-run", action="store_true", help="say what the gate says, then stop")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> a version."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    if (args.model is None) == (args.version is None):
        raise ConfigurationError(
            "--model, --version: one of them is wanted. Remedy: name the file or folder of a model,"
            " or a version that is registered."
        )
    if args.refresh is None:
        raise ConfigurationError(f"--refresh: missing. Remedy: name {REFRESH}.")
    if args.version is not None and args.parent is not None:
        raise ConfigurationError("--parent: a version has its own. Remedy: leave it out.")
    result = given(args, pipeline)
    if args.dry_run and not args.json:
        log.info("the gate %s: %s", "passes" if result["passed"] else "refuses", result["reason"])
    return result


def given(args: argparse.Namespace, pipeline: Pipeline) -> dict[str, Any]:
    """What the arguments ask for."""
    whose = {"name": args.name, "dry_run": args.dry_run}
    if args.version is not None:
        require_equal_rows(pipeline, "--version")
        return judge_again(pipeline, args.warehouse, args.version, args.refresh, **whose)
    return register(pipeline, args.warehouse, args.model, args.refresh, parent=args.parent, **whose)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
