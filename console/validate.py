"""`tenforward validate`: every fault of a pipeline file and of its warehouse, before Spark starts.

tenforward validate --pipeline pipelines/flights.toml
"""

import argparse
from collections.abc import Sequence
from typing import Any

from schemas.command import add_common_arguments, run_command
from schemas.errors import ConfigurationError
from schemas.layout import located_by_file
from schemas.log import about, log
from schemas.pipeline import told
from schemas.validation.elsewhere import tables_fit
from schemas.validation.examine import examine


def validate(path: str, warehouse: str | None) -> dict[str, Any]:
    """Whether the file and the warehouse are such that every command takes them, and the faults."""
    read = examine(path, warehouse, writes=True, trains=True)
    name = None if read.pipeline is None else read.pipeline.name
    about(pipeline=name)
    faults = read.faults
    if read.pipeline is not None and warehouse is not None and not faults:
        faults = list(tables_fit(read.pipeline, warehouse))
    for line in told(path, faults):
        log.error("%s", line)
    return {
        "status": "refused" if faults else "valid",
        "exit_code": ConfigurationError.exit_code if faults else 0,
        "pipeline": name,
        "valid": not faults,
        "faults": [fault.as_dict() for fault in faults],
    }


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> faults."""
    line = argparse.ArgumentParser(
        prog="tenforward validate",
        description="Every fault of a pipeline file and of its warehouse, each with its remedy.",
    )
    add_common_arguments(line)
    args = line.parse_args(argv)
    return validate(args.pipeline, located_by_file(args.warehouse, args.pipeline))


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
