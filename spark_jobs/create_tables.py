"""`tenforward init`: create the tables of a pipeline that are missing, for rows of your own."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from schemas.command import add_common_arguments, run_command
from schemas.pipeline import load_pipeline
from spark_jobs.warehouse import Warehouse


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `tenforward init`."""
    parser = argparse.ArgumentParser(prog="tenforward init", description=__doc__)
    add_common_arguments(parser)
    return parser.parse_args(argv)


def job(argv: Sequence[str] | None) -> dict[str, Any]:
    """Create what is missing; the result names the tables created."""
    args = parse_args(argv)
    pipeline = load_pipeline(args.pipeline)
    warehouse = Warehouse(args.warehouse, pipeline)
    created = warehouse.create_missing()
    warehouse.require(*warehouse.tables)
    return {
        "status": "done" if created else "already done",
        "pipeline": pipeline.name,
        "warehouse": args.warehouse,
        "created": created,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; its exit code."""
    return run_command(job, argv)


if __name__ == "__main__":
    sys.exit(main())
