"""`tenforward train`: one refresh in, one registered model out, promoted if the gate passes.

On several processes of one machine, or of several with torchrun:

    tenforward train --pipeline P --refresh R --processes 2
    torchrun --nproc-per-node 2 -m trainer.train --pipeline P --refresh R
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.ledger import read_spent
from schemas.lock import exclusive
from schemas.log import about
from schemas.pipeline import Pipeline
from schemas.places import state_folder, within
from schemas.progress import step
from schemas.registry import registry_exists, tracking_uri
from trainer.data.reader import read_holdout
from trainer.data.refresh import Refresh, newest_refresh, open_refresh
from trainer.fitting.cost import purpose_of, require_affordable
from trainer.fitting.pull import to_choose_by
from trainer.processes.followers import followed
from trainer.processes.launch import launch, own_stdout
from trainer.processes.ranks import Ranks, alone, helps, joined, launched
from trainer.promotion.registry import Registry, open_registry, require_model_name
from trainer.training import Leader, follow

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
    began, clock = time.time(), time.monotonic()
    ranks = ranks or alone()
    name = model_name or pipeline.name
    require_model_name(name)
    about(pipeline=pipeline.name, refresh_id=refresh_id, model=name)
    if not ranks.first:
        follow(pipeline, warehouse, ranks)
        return {"status": "done", "rank": ranks.rank}
    with followed(ranks) as followers:
        lead = partial(Leader, ranks=ranks, followers=followers, began=began)
        result = _led(pipeline, warehouse, refresh_id, name, lead, dry_run=dry_run, force=force)
    if result["status"] == "done":
        result |= {"seconds": round(time.monotonic() - clock, 3)}
    return result


def _led(
    pipeline: Pipeline,
    warehouse: str,
    refresh_id: str | None,
    name: str,
    lead: Callable[[Pipeline, Refresh, Registry], Leader],
    *,
    dry_run: bool,
    force: bool,
) -> dict[str, Any]:
    """What the first rank does; the result of the command, but for its seconds."""
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
        return {"status": "planned"} | result | _plan(pipeline, warehouse, refresh, None)
    lock = state_folder(warehouse) / f".train-{name}.lock"
    with exclusive(lock, wait=False), step(f"train {refresh.refresh_id}"):
        registry = open_registry(warehouse, pipeline.name, name)
        before = registry.trained(refresh.refresh_id, refresh.sample_digest)
        if before is not None and not force:
            status = "already done" if refresh_id else "nothing to do"
            promoted = registry.finish_promotion(before)
            return {"status": status} | result | _outcome(before, promoted)
        if dry_run:
            plan = _plan(pipeline, warehouse, refresh, registry.champion())
            return {"status": "planned"} | result | plan
        purpose = purpose_of(refresh, name, pipeline.name)
        spent = _spent(warehouse, refresh)
        require_affordable(refresh, pipeline.training, purpose, spent, force=force)
        version, record = lead(pipeline, refresh, registry).train()
    result |= _outcome(version, record.verdict.passed) | {"inputs": _inputs(warehouse, refresh)}
    result |= {"metrics": record.metrics, "ledger": dict(record.ledger)}
    return {"status": "done"} | result


def _outcome(version: "ModelVersion", promoted: bool) -> dict[str, Any]:
    """What a registered version says of its own making."""
    parent = version.tags.get("parent_version")
    return {
        "version": str(version.version),
        "parent_version": None if parent == "none" else parent,
        "started": version.tags.get("started"),
        "promoted": promoted,
        "reason": version.tags.get("gate_reason", ""),
        "run_id": version.run_id,
    }


def _inputs(warehouse: str, refresh: Refresh) -> list[dict[str, Any]]:
    """The tables that were read, as results of all commands list them."""
    return [
        {"table": name, "path": within(warehouse, name), "version": refresh.versions[name]}
        for name in ("sampled", "holdout")
    ]


def _spent(warehouse: str, refresh: Refresh) -> int:
    """The backward passes of trainings on a refresh so far."""
    return read_spent(warehouse).get(refresh.refresh_id, {}).get("training", 0)


def _plan(
    pipeline: Pipeline, warehouse: str, refresh: Refresh, champion: "ModelVersion | None"
) -> dict[str, Any]:
    """What a training would read, compare with, and cost at most."""
    allowance, training = refresh.allowance, pipeline.training
    passes = training.epochs * _pulls(pipeline, refresh, champion)
    return {
        "files": len(refresh.sampled),
        "bytes": sum(file.bytes for file in refresh.sampled),
        "held_out": refresh.held_out,
        "champion_version": None if champion is None else str(champion.version),
        "backward_passes": refresh.drawn * passes,
        "may_stop_early": training.patience is not None,
        "backward_passes_planned": None if allowance is None else allowance.backward_passes,
        "backward_passes_spent": _spent(warehouse, refresh),
    }


def _pulls(pipeline: Pipeline, refresh: Refresh, champion: "ModelVersion | None") -> int:
    """How many pulls a training would try: one where there is no parent to be pulled to, or too few
    rows to choose by. (Whether the parent's layers fit is seen when it is loaded.)"""
    training = pipeline.training
    if not training.pulls or not training.warm_start or champion is None:
        return 1
    held_out = read_holdout(pipeline, refresh)
    chosen, _ = to_choose_by(pipeline, held_out, warm=True)
    return 1 if chosen is None else len(training.pulls)


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
    pipeline = pipeline_of(args, trains=True)
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
        own_stdout()
    elif not launched() and (processes := wanted_processes(arguments)) > 1:
        return launch(processes, arguments)
    return run_command(command, arguments, tells=not helps())


def wanted_processes(arguments: Sequence[str]) -> int:
    """What --processes says; argparse reports everything else later, in one process."""
    line = argparse.ArgumentParser(add_help=False)
    line.add_argument("--processes", type=int, default=1)
    return int(line.parse_known_args(arguments)[0].processes)


if __name__ == "__main__":
    raise SystemExit(main())
