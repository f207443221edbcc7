"""`tenforward new NAME`: a commented pipeline file, and a script that makes a few rows for it.

tenforward new orders
tenforward new orders --folder pipelines
"""

import argparse
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from schemas.command import run_command
from schemas.errors import ConfigurationError
from schemas.log import about, log
from schemas.pipeline import load_pipeline
from schemas.sections.fault import Wrong
from schemas.sections.section import identifier
from schemas.terminal import JSON

WRITTEN = {"pipeline.toml": "{name}.toml", "rows.py.txt": "{name}_rows.py"}

# The first hour. The rows of the template are of 2026-01-01 to 2026-01-14: the first model learns
# from eight days and answers the ninth; the second learns from a tenth of its records, and so on.
STEPS = (
    "tenforward validate --pipeline {file}",
    "tenforward describe --pipeline {file}",
    "tenforward init --pipeline {file} --warehouse warehouse",
    "python {rows} warehouse",
    "tenforward bootstrap --pipeline {file} --warehouse warehouse"
    " --start 2026-01-01 --end 2026-01-08",
    "tenforward train --pipeline {file} --warehouse warehouse",
    "tenforward backfill --pipeline {file} --warehouse warehouse"
    " --start 2026-01-09 --end 2026-01-11",
    "tenforward status --pipeline {file} --warehouse warehouse",
)


def new(name: str, folder: Path) -> dict[str, Any]:
    """Write the files and say what comes next.

    Raises ConfigurationError where one of them is there, or where the name is none.
    """
    try:
        identifier(name)
    except Wrong as error:
        told = "; ".join(str(fault._replace(field="NAME")) for fault in error.faults)
        raise ConfigurationError(told) from error
    targets = {key: folder / form.format(name=name) for key, form in WRITTEN.items()}
    there = [str(path) for path in targets.values() if path.exists()]
    if there:
        raise ConfigurationError(
            f"NAME = {name}: {', '.join(there)} is there already. Remedy: give another name, or"
            " another --folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for key, path in targets.items():
        text = files("console").joinpath("template", key).read_text(encoding="utf-8")
        with path.open("x", encoding="utf-8") as target:
            target.write(text.replace("NAME", name))
    file, rows = (os.path.relpath(targets[key]) for key in WRITTEN)
    load_pipeline(targets["pipeline.toml"])
    steps = [step.format(file=file, rows=rows) for step in STEPS]
    return {"status": "written", "pipeline": name, "files": [file, rows], "next": steps}


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> files."""
    line = argparse.ArgumentParser(
        prog="tenforward new",
        description="A commented pipeline file, and a script that makes a few rows to try it on.",
    )
    line.add_argument("name", metavar="NAME", help="of the pipeline, its model and its DAGs")
    line.add_argument(
        "--folder", type=Path, default=Path(), help="where the files go (default: here)"
    )
    line.add_argument(JSON, action="store_true", help="JSON on a terminal too")
    args = line.parse_args(argv)
    about(pipeline=args.name)
    result = new(args.name, args.folder)
    if not args.json:
        for step in result["next"]:
            log.info("next: %s", step)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
