"""`tenforward rollback`: an earlier version serves again.

tenforward rollback --pipeline pipelines/flights.toml            # the champion before this one
tenforward rollback --pipeline pipelines/flights.toml --to 12    # this version

Without --to it goes one step back from the newest version that was ever promoted, so that
repeating it changes nothing, and past every version that was itself rolled back from; where
`register --version` promoted an older version over a newer one, back to that one. The next
training starts from, and is compared with, what serves.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import NoDataError
from schemas.lock import exclusive
from schemas.log import about, log
from schemas.places import state_folder
from schemas.registry import CHAMPION, PROMOTED, PROMOTED_OVER, ROLLED_BACK, registry_exists
from trainer.promotion.registry import Registry, open_registry, require_model_name

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def rollback(
    name: str, pipeline: str, warehouse: str, to: str | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """Let version `to` of model `name` serve (None: the champion before the newest one, of those
    that were not rolled back from).

    A version that gives way to an older one is marked before the alias moves, so that a command
    killed in between is finished by repeating it; so is every version between them that was ever
    promoted, as to go back past it is to find it no better. Raises ConfigurationError for a version
    that is not there or not whole, NoDataError when there is nothing to go back to, ConflictError
    while the model is being trained.
    """
    require_model_name(name)
    about(pipeline=pipeline, model=name)
    if not registry_exists(warehouse):
        raise NoDataError(f"model {name}: nothing was ever registered. Remedy: train first.")
    with exclusive(state_folder(warehouse) / f".train-{name}.lock", wait=False):
        registry = open_registry(warehouse, pipeline, name)
        serving = registry.champion()
        target = _before_newest(registry, serving) if to is None else registry.version(to, "--to")
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
        if ROLLED_BACK in target.tags:
            log.warning("version %s was itself rolled back from", version)
        if dry_run:
            return {"status": "planned"} | result
        if serving is not None and _is_back(serving, target):  # forwards is no rolling back
            for one in _given_up(registry, int(version), int(serving.version)):
                registry.client.set_model_version_tag(name, one, ROLLED_BACK, "true")
        registry.client.set_registered_model_alias(name, CHAMPION, version)
    return {"status": "done"} | result


def _is_back(serving: "ModelVersion", target: "ModelVersion") -> bool:
    """Whether the target served before what serves: an older one, or the newer one over which an
    older one was promoted later."""
    older = int(target.version) < int(serving.version)
    return older or serving.tags.get(PROMOTED_OVER) == str(target.version)


def _given_up(registry: Registry, version: int, before: int) -> list[str]:
    """What a step from one version back to another leaves behind: the one that served, last of all,
    and those after the other that were ever promoted."""
    between = [
        int(one.version)
        for one in registry.versions()
        if version < int(one.version) < before and PROMOTED in one.tags
    ]
    return [str(number) for number in (*sorted(between), before)]


def _before_newest(registry: Registry, serving: "ModelVersion | None") -> "ModelVersion":
    """Where a step back leads; where one was made already, the version that serves."""
    now = None if serving is None else int(serving.version)
    # Not all that served was promoted: --to names any, and a training may die before it says so.
    served = {
        int(one.version): one
        for one in registry.versions()
        if {PROMOTED, ROLLED_BACK} & set(one.tags) or int(one.version) == now
    }
    newest = max(served, default=None)
    over = None if serving is None else served.get(int(serving.tags.get(PROMOTED_OVER, 0)))
    if over is not None and ROLLED_BACK not in over.tags:
        return over
    stepped = any(
        ROLLED_BACK in one.tags and one.tags.get(PROMOTED_OVER) == str(now)
        for one in served.values()
    )
    if serving is not None and (now != newest or stepped):
        told = "version %s serves already, a step back was made; --to goes further back"
        log.info(told, now)
        return serving
    earlier = [number for number in served if number != newest]
    sound = [number for number in earlier if ROLLED_BACK not in served[number].tags]
    replaced = {served[number].tags.get(PROMOTED_OVER) for number in sound}
    sound = [number for number in sound if str(number) not in replaced]
    if not sound:
        why = "each was itself rolled back from" if earlier else "none was ever promoted before"
        raise NoDataError(
            f"model {registry.name}: no version to go back to, {why}. Remedy: name one with --to;"
            " `tenforward status` lists them."
        )
    return served[max(sound)]


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
