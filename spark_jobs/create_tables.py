"""`tenforward init`: create the tables of a pipeline that are missing, for rows of your own.

Tables of an earlier release get the columns that this one brought, and its format.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.foreign import foreign_sections
from schemas.ownership import FORMAT, FORMAT_OF
from spark_jobs.storage.creation import create_missing
from spark_jobs.storage.properties import give, lacking, of_definition
from spark_jobs.storage.warehouse import Warehouse
from spark_jobs.storage.widen import widen


def parser() -> argparse.ArgumentParser:
    """The command line of `tenforward init`."""
    line = argparse.ArgumentParser(
        prog="tenforward init", description="Create the tables of a pipeline that are missing."
    )
    add_common_arguments(line)
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> the tables created, the columns added; the others are checked."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    warehouse = Warehouse(args.warehouse, pipeline)
    if any(section.table for section in foreign_sections(pipeline).values()):
        warehouse.spark.active()  # which asks the catalog where they are
    created, added = create_missing(warehouse), widen(warehouse)
    warehouse.require(*warehouse.tables)
    given = restore(warehouse)
    return {
        "status": "done" if created or added or given else "already done",
        "pipeline": warehouse.pipeline.name,
        "created": created,
        "added": added,
        "properties": given,
    }


def restore(warehouse: Warehouse) -> dict[str, dict[str, str]]:
    """Give tables the properties of their definition and this format; by table, what one lacked."""
    found = {}
    for name, table in warehouse.own_tables.items():
        wanted = of_definition(table) | {FORMAT_OF: str(FORMAT)}
        lacks = lacking(warehouse.path(name), wanted)
        give(warehouse.path(name), lacks)
        if lacks:
            found[name] = lacks
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
