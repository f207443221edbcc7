"""`tenforward rollback`: an earlier version serves again.

tenforward rollback --pipeline pipelines/flights.toml            # the champion before this one
tenforward rollback --pipeline pipelines/flights.toml --to 12    # this version

Without --to it goes one step back from the newest version that was ever promoted, so that
repeating it changes nothing. The next training starts from, and is compared with, what serves.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import ConfigurationError, NoDataError
from schemas.log import about, log
from schemas.places import state_folder
from schemas.registry import CHAMPION, registry_exists
from trainer.processes.lock import exclusive
from trainer.promotion.registry import Registry, open_registry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def rollback(
    name: str, pipeline: str, warehouse: str, to: str | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Let version `to` of model `name` serve (None: the champion before the newest one).

    Raises ConfigurationError for a version that is not there or not whole, NoDataError when there
    is nothing to go back to, ConflictError while the model is being trained.
    """
    about(pipeline=pipeline, model=name)
    if not registry_exists(warehouse):
        raise NoDataError(f"model {name}: nothing was ever registered. Remedy: train first.")
    with exclusive(state_folder(warehouse) / f".train-{name}.lock", wait=False):
        registry = open_registry(warehouse, pipeline, name)
        serving = registry.champion()
        target = _before_newest(registry, serving) if to is None else _version(registry, to)
        registry.folder(target)  # refuses a bundle that is not whole
        version, refresh_id = str(target.version), target.tags.get("refresh_id")
        about(pipeline=pipeline, model=name, version=version, refresh_id=refresh_id)
        before = None if serving is None else str(serving.version)
        result = {
            "pipeline": pipeline,
            "model": name,
            "version": version,
            "before": before,
            "refresh_id": refresh_id,
        }
        if before == version:
            return {"status": "already done"} | result
        if dry_run:
            return {"status": "planned"} | result
        registry.client.set_registered_model_alias(name, CHAMPION, version)
    return {"status": "done"} | result


def _version(registry: Registry, version: str) -> "ModelVersion":
    known = {str(one.version): one for one in registry.versions()}
    if version not in known:
        listed = ", ".join(sorted(known, key=int)) or "none"
        raise ConfigurationError(
            f"--to {version}: model {registry.name} has no such version. Remedy: choose one of"
            f" {listed}."
        )
    return known[version]


def _before_newest(registry: Registry, serving: "ModelVersion | None") -> "ModelVersion":
    """Where a step back leads; where one was made already, the version that serves."""
    promoted = [one for one in registry.versions() if "promoted" in one.tags]
    newest_first = sorted(promoted, key=lambda one: int(one.version), reverse=True)
    if serving is not None and newest_first and serving.version != newest_first[0].version:
        log.info(
            "version %s serves already, behind version %s; --to goes further back",
            serving.version,
            newest_first[0].version,
        )
        return serving
    if len(newest_first) < 2:
        raise NoDataError(
            f"model {registry.name}: no earlier version was ever promoted. Remedy: name one with"
            " --to; `tenforward status` lists them."
        )
    return newest_first[1]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward rollback",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common_arguments(line)
    line.add_argument("--to", metavar="VERSION", help="the version that is to serve")
    line.add_argument("--model", metavar="NAME", help="registry name (default: the pipeline's)")
    line.add_argument("--dry-run", action="store_true", help="say what would serve, then stop")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> the version that serves."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    name = args.model or pipeline.name
    result = rollback(name, pipeline.name, args.warehouse, args.to, args.dry_run)
    log.info("%s: version %s, before it %s", name, result["version"], result["before"])
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
