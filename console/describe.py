"""`tenforward describe`: the columns of each table, who fills it, their types and what they mean.

tenforward describe --pipeline pipelines/flights.toml
tenforward describe --pipeline pipelines/flights.toml --table instances
"""

import argparse
from collections.abc import Sequence
from typing import Any

from schemas.columns import TYPES, Column, Table
from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import ConfigurationError, TenforwardError
from schemas.foreign import ForeignTable, foreign_table
from schemas.foreign_cost import scan_of
from schemas.pipeline import Pipeline
from schemas.tables import all_tables

YOURS, OURS = "you", "tenforward"


def describe(
    pipeline: Pipeline, table: str | None = None, warehouse: str | None = None
) -> dict[str, Any]:
    """Each table with its meaning, its partitions, who fills it, and its columns; of tables
    elsewhere where they are, and what a window of one costs to read.

    table: only this one. warehouse: where a job has written down the places of names in Spark's
    catalog. Raises ConfigurationError where the pipeline has none of the name.
    """
    tables = all_tables(pipeline)
    if table is not None and table not in tables:
        raise ConfigurationError(
            f"--table = {table!r}: no table of pipeline {pipeline.name}. Remedy: name one of"
            f" {', '.join(tables)}."
        )
    chosen = [one for name, one in tables.items() if table in (None, name)]
    elsewhere, unread = _elsewhere(pipeline, [one.name for one in chosen], warehouse or "")
    told: dict[str, Any] = {
        "pipeline": pipeline.name,
        "tables": [_table(one, elsewhere.get(one.name)) for one in chosen],
        "columns": {
            one.name: [_column(column, elsewhere.get(one.name)) for column in one.columns]
            for one in chosen
        },
    }
    if elsewhere or unread:
        days = pipeline.selection.window_days
        scans = [{"table": name} | _scan(one, days) for name, one in elsewhere.items()]
        told["elsewhere"] = [*scans, *unread]
    return told


def _elsewhere(
    pipeline: Pipeline, names: Sequence[str], warehouse: str
) -> tuple[dict[str, ForeignTable], list[dict[str, Any]]]:
    """The tables that are somebody else's, and what is said of those whose place is not known."""
    found: dict[str, ForeignTable] = {}
    unread = []
    for name in names:
        try:
            one = foreign_table(pipeline, warehouse, name)
        except TenforwardError as error:
            unread.append({"table": name, "cannot_be_read": str(error)})
            continue
        found |= {} if one is None else {name: one}
    return found, unread


def _scan(table: ForeignTable, days: int) -> dict[str, Any]:
    """What a window costs; where the table cannot be read, why."""
    try:
        return scan_of(table, days)
    except TenforwardError as error:
        return {"place": table.place, "cannot_be_read": str(error)}


def filled_by(name: str) -> str:
    """Who fills a table: a pipeline's `source`, or whoever has the rows; or the jobs."""
    own = name in ("instances", "labels") or name.startswith("features/")
    return YOURS if own else OURS


def _table(table: Table, elsewhere: ForeignTable | None) -> dict[str, Any]:
    told = {
        "table": table.name,
        "filled_by": filled_by(table.name),
        "partitioned_by": ", ".join(table.partition_by) or None,
        "meaning": table.doc,
    }
    # Of somebody else's, whatever they partition it by is well.
    return told if elsewhere is None else told | {"partitioned_by": None, "at": elsewhere.place}


def _column(column: Column, elsewhere: ForeignTable | None) -> dict[str, Any]:
    forms = TYPES[column.type]
    told = {
        "column": column.name,
        "spark": forms.spark,
        "arrow": str(forms.arrow),
        "may_be_null": column.nullable,
        "meaning": column.doc,
    }
    if elsewhere is None:
        return told
    theirs = elsewhere.columns.get(column.name)
    return told | {"there": theirs or elsewhere.derivation(column.name)}


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> tables."""
    line = argparse.ArgumentParser(
        prog="tenforward describe",
        description="The columns of each table, who fills it, their types and what they mean.",
    )
    add_common_arguments(line)
    line.add_argument("--table", metavar="NAME", help="this table alone, such as features/weather")
    args = line.parse_args(argv)
    pipeline = pipeline_of(args, writes=False, warehouse=False)
    return describe(pipeline, args.table, args.warehouse)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
