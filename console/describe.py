"""`tenforward describe`: the columns of each table, who fills it, their types and what they mean.

tenforward describe --pipeline pipelines/flights.toml
tenforward describe --pipeline pipelines/flights.toml --table instances
"""

import argparse
from collections.abc import Sequence
from typing import Any

from schemas.columns import TYPES, Column, Table
from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from schemas.tables import all_tables

YOURS, OURS = "you", "tenforward"


def describe(pipeline: Pipeline, table: str | None = None) -> dict[str, Any]:
    """Each table with its meaning, its partitions, who fills it, and its columns.

    table: only this one. Raises ConfigurationError where the pipeline has none of the name.
    """
    tables = all_tables(pipeline)
    if table is not None and table not in tables:
        raise ConfigurationError(
            f"--table = {table!r}: no table of pipeline {pipeline.name}. Remedy: name one of"
            f" {', '.join(tables)}."
        )
    chosen = [one for name, one in tables.items() if table in (None, name)]
    return {
        "pipeline": pipeline.name,
        "tables": [_table(one) for one in chosen],
        "columns": {one.name: [_column(column) for column in one.columns] for one in chosen},
    }


def filled_by(name: str) -> str:
    """Who fills a table: a pipeline's `source`, or whoever has the rows; or the jobs."""
    own = name in ("instances", "labels") or name.startswith("features/")
    return YOURS if own else OURS


def _table(table: Table) -> dict[str, Any]:
    return {
        "table": table.name,
        "filled_by": filled_by(table.name),
        "partitioned_by": ", ".join(table.partition_by) or None,
        "meaning": table.doc,
    }


def _column(column: Column) -> dict[str, Any]:
    forms = TYPES[column.type]
    return {
        "column": column.name,
        "spark": forms.spark,
        "arrow": str(forms.arrow),
        "may_be_null": column.nullable,
        "meaning": column.doc,
    }


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> tables."""
    line = argparse.ArgumentParser(
        prog="tenforward describe",
        description="The columns of each table, who fills it, their types and what they mean.",
    )
    add_common_arguments(line)
    line.add_argument("--table", metavar="NAME", help="this table alone, such as features/weather")
    args = line.parse_args(argv)
    return describe(pipeline_of(args, writes=False, warehouse=False), args.table)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
