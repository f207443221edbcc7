"""Check: do the tables on storage fit their definition? Without Spark, in a second.

tenforward check --pipeline pipelines/flights.toml
tenforward check --pipeline pipelines/flights.toml --table forward_records --path s3://logs/fwd
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from deltalake import DeltaTable as Snapshot

from schemas.columns import Table
from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.conformance import Finding, differences
from schemas.errors import ConfigurationError
from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.places import within
from schemas.tables import all_tables


def check(pipeline: Pipeline, places: dict[str, str]) -> dict[str, Any]:
    """Compare tables with their definitions; the result of the command.

    places: path or URI by table name. Raises ConfigurationError, a line a finding, where one of
    them could not be used.
    """
    tables = all_tables(pipeline)
    findings = [finding for name, at in places.items() for finding in _compare(tables[name], at)]
    errors = [finding for finding in findings if finding.severity == "error"]
    for finding in findings:
        (log.error if finding.severity == "error" else log.warning)("%s", finding)
    result = {"pipeline": pipeline.name, "findings": [finding.as_dict() for finding in findings]}
    if errors:
        raise ConfigurationError("\n".join(str(finding) for finding in errors), **result)
    return {
        "status": "done",
        **result,
        "tables": {name: Snapshot(at).version() for name, at in places.items()},
    }


def _compare(table: Table, path: str) -> list[Finding]:
    if Snapshot.is_deltatable(path):
        return differences(table, Snapshot(path))
    remedy = "run `tenforward init`, or correct --warehouse or --path"
    return [Finding("error", table.name, "table", f"a Delta table at {path}", "none", remedy)]


def places_of(
    pipeline: Pipeline, warehouse: str, table: str | None, path: str | None
) -> dict[str, str]:
    """Where the tables to check are: all of the warehouse, one of it, or one elsewhere."""
    names = list(all_tables(pipeline))
    if path is not None and table is None:
        raise ConfigurationError(
            f"--path = {path}: which table should it be? Remedy: add --table, one of"
            f" {', '.join(names)}."
        )
    if table is not None and table not in names:
        raise ConfigurationError(
            f"--table = {table!r}: no such table. Remedy: use one of {', '.join(names)}."
        )
    if table is not None:
        return {table: path or within(warehouse, table)}
    return {name: within(warehouse, name) for name in names}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward check",
        description="Compare Delta tables with the documented schema: what is missing, wrong or"
        " extra, and the remedy.",
    )
    add_common_arguments(line)
    line.add_argument("--table", metavar="NAME", help="only this table, such as forward_records")
    line.add_argument("--path", metavar="URI", help="where it is, if not in the warehouse")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> findings."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args, writes=False, warehouse=args.path is None)
    return check(pipeline, places_of(pipeline, args.warehouse, args.table, args.path))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
