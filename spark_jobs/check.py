"""Check: do the tables on storage fit their definition, and are their rows fit to learn from?

tenforward check --pipeline pipelines/flights.toml
tenforward check --pipelines pipelines --warehouse '/lake/{pipeline}'
tenforward check --pipeline pipelines/flights.toml --start 2013-02-01 --end 2013-02-28
tenforward check --pipeline pipelines/flights.toml --table forward_records --path s3://logs/fwd

The columns are compared first, without Spark, in a second; with `--columns`, or of one table, that
is all. Then the rows are looked at, by `spark_jobs.history`. Nothing is ever written.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

from deltalake import DeltaTable as Snapshot

from schemas.command import (
    add_common_arguments,
    parse_date,
    pipeline_of,
    require_order,
    run_command,
)
from schemas.conformance import Finding, differences
from schemas.errors import ConfigurationError, DataQualityError
from schemas.foreign import table_place
from schemas.foreign_source import foreign_source
from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.several import over_pipelines
from schemas.tables import all_tables
from schemas.validation.elsewhere import tables_fit
from spark_jobs.storage import logs


def check(
    pipeline: Pipeline, places: dict[str, str], warehouse: str | None = None
) -> dict[str, Any]:
    """Compare tables with their definitions; the result of the command where that is all.

    places: path or URI by table name. warehouse: where they are those of a pipeline, some of which
    may be somebody else's. Raises ConfigurationError, a line a finding, where one of
    them could not be used.
    """
    tables, findings = all_tables(pipeline), list[Finding]()
    versions: dict[str, int] = {}
    # Of tables that are somebody else's, the columns that are mapped must fit.
    faults = [] if warehouse is None else list(tables_fit(pipeline, warehouse, places))
    for name, at in places.items():
        source = None if warehouse is None else foreign_source(pipeline, warehouse, name)
        if source is not None:
            versions |= {} if faults else {name: source.version()}
        elif Snapshot.is_deltatable(at):
            findings += differences(tables[name], Snapshot(at))
            versions[name] = Snapshot(at).version()
        elif not tables[name].optional:
            remedy = "run `tenforward init`, or correct --warehouse or --path"
            wanted = f"a Delta table at {at}"
            findings.append(Finding("error", name, "table", wanted, "none", remedy))
    errors = [finding for finding in findings if finding.severity == "error"]
    for finding in findings:
        (log.error if finding.severity == "error" else log.warning)("%s", finding)
    result = {"pipeline": pipeline.name, "findings": [finding.as_dict() for finding in findings]}
    for fault in faults:
        log.error("%s", fault)
    if errors or faults:
        lines = "\n".join(map(str, [*errors, *faults]))
        told = {"faults": [fault.as_dict() for fault in faults]} if faults else {}
        raise ConfigurationError(lines, **result, **told)
    return {"status": "done", **result, "tables": versions}


def check_rows(
    pipeline: Pipeline, warehouse: str, start: date | None = None, end: date | None = None
) -> dict[str, Any]:
    """Compare the tables of a warehouse with their definitions, then look at their rows of event
    dates from `start` to `end`; the result of the command.

    Raises ConfigurationError as `check` does, and DataQualityError, a line a finding, where rows
    must be mended.
    """
    result = check(pipeline, places_of(pipeline, warehouse, None, None), warehouse)
    logs.require(pipeline, warehouse, *result["tables"])
    from spark_jobs.history.looked import look  # Spark, which the columns do not need
    from spark_jobs.storage.warehouse import Warehouse

    looked = look(Warehouse(warehouse, pipeline), result["tables"], start, end)
    levels = {"error": log.error, "warning": log.warning, "note": log.info}
    for finding in looked.findings:
        levels[finding.severity]("%s", finding)
    findings = [*result["findings"], *(finding.as_dict() for finding in looked.findings)]
    told = result | looked.figures | {"findings": findings}
    errors = [str(finding) for finding in looked.findings if finding.severity == "error"]
    if errors:
        del told["status"]
        raise DataQualityError("\n".join(errors), **told)
    return told


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
    if path is not None and table is not None:
        return {table: path}
    wanted = names if table is None else [table]
    return {name: table_place(pipeline, warehouse, name) for name in wanted}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward check",
        description="Compare Delta tables with the documented schema, then look for rows that"
        " nothing should be learnt from; each finding with its remedy. Nothing is written.",
    )
    add_common_arguments(line, several=True)
    line.add_argument("--start", type=parse_date, help="first UTC event date to look at")
    line.add_argument("--end", type=parse_date, help="last UTC event date to look at")
    line.add_argument("--columns", action="store_true", help="columns alone, without Spark")
    line.add_argument("--table", metavar="NAME", help="the columns of this table alone")
    line.add_argument("--path", metavar="URI", help="where it is, if not in the warehouse")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> findings."""
    args = parser().parse_args(argv)
    if args.pipelines is None:
        return _one(args)
    if args.path is not None:
        raise ConfigurationError(
            f"--path = {args.path}: which pipeline's table is it? Remedy: give --pipeline."
        )
    # One session for all: its options cannot be chosen by the size of one of them.
    os.environ.setdefault("TENFORWARD_SMALL_DATA", "no")
    return over_pipelines(args, sys.argv[1:] if argv is None else argv, _one, _row_of)


def _row_of(result: dict[str, Any]) -> dict[str, Any]:
    """What was found, as a line among those of other pipelines."""
    found = Counter(finding["severity"] for finding in result.get("findings", ()))
    return {f"{kind}s": found[kind] for kind in ("error", "warning", "note")}


def _one(args: argparse.Namespace) -> dict[str, Any]:
    pipeline = pipeline_of(args, writes=False, warehouse=args.path is None)
    if args.start is not None and args.end is not None:
        require_order(args.start, args.end)
    if args.table is None and args.path is None and not args.columns:
        return check_rows(pipeline, args.warehouse, args.start, args.end)
    places = places_of(pipeline, args.warehouse, args.table, args.path)
    return check(pipeline, places, args.warehouse if args.path is None else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
