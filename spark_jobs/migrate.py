"""Migrate: a warehouse follows its pipeline file, where that has changed, and this release.

tenforward migrate --pipeline pipelines/flights.toml --dry-run
tenforward migrate --pipeline pipelines/flights.toml
tenforward migrate --pipeline pipelines/lateness.toml --from flights    # the same, renamed

Tables and columns are added, none is dropped, and no row is written anew: refreshes, records and
models stay as they are. What cannot follow is refused with what to do instead, before any change.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import ConfigurationError
from schemas.log import log
from spark_jobs.migration.change import Change
from spark_jobs.migration.columns import column_steps, obstacles
from spark_jobs.migration.names import name_steps, no_training, require_owners
from spark_jobs.storage.warehouse import Warehouse


def migrate(
    warehouse: Warehouse, before: str | None = None, *, dry_run: bool = False
) -> dict[str, Any]:
    """Bring a warehouse along, or say what that would be; the result of the command.

    before: the name that the pipeline had. Raises ConfigurationError where something cannot follow,
    ConflictError while a model of either name is trained.
    """
    pipeline = warehouse.pipeline
    names = [pipeline.name] if before is None else [pipeline.name, before]
    result = {"pipeline": pipeline.name}
    if dry_run:
        return {"status": "planned", **result, **_told(_steps(warehouse, before))}
    with no_training(warehouse.root, *names):
        steps = _steps(warehouse, before)
        for number, step in enumerate(steps, 1):
            log.info("%d/%d %s: %s", number, len(steps), step.where, step.words)
            step.make()
    warehouse.require(*warehouse.tables)
    return {"status": "done" if steps else "already done", **result, **_told(steps)}


def _steps(warehouse: Warehouse, before: str | None) -> list[Change]:
    """All changes in their order; every refusal comes before the first of them."""
    if not any(map(warehouse.exists, warehouse.own_tables)):
        raise ConfigurationError(
            f"--warehouse = {warehouse.root}: holds no table to migrate. Remedy: run `tenforward"
            " init`, or correct --warehouse."
        )
    require_owners(warehouse, before)
    found = list(obstacles(warehouse))
    if found:
        lines = "\n".join(map(str, found))
        raise ConfigurationError(lines, findings=[finding.as_dict() for finding in found])
    return [*column_steps(warehouse), *name_steps(warehouse, before)]


def _told(steps: Sequence[Change]) -> dict[str, Any]:
    return {"steps": [step.as_dict() for step in steps]}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward migrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common_arguments(line)
    line.add_argument(
        "--from",
        dest="before",
        metavar="NAME",
        help="the name that the pipeline had, where the file has another one now",
    )
    line.add_argument("--dry-run", action="store_true", help="say what would change, then stop")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> changes."""
    args = parser().parse_args(argv)
    # With --from, whose each table is will be asked below: some may be of either name.
    pipeline = pipeline_of(args, owned=args.before is None)
    result = migrate(Warehouse(args.warehouse, pipeline), args.before, dry_run=args.dry_run)
    if args.dry_run and not args.json:
        for step in result["steps"]:
            log.info("%s: %s", step["where"], step["change"])
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
