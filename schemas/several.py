"""A command over every pipeline of a folder: one that fails does not hide the others."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.command import failure_of
from schemas.errors import ConfigurationError
from schemas.layout import PipelineFile, pipeline_files
from schemas.log import about
from schemas.signals import was_interrupted
from schemas.terminal import looked_on

# Exit codes, the worst first: unexpected, configuration, data quality, no data, a conflict.
WORST = (1, 2, 4, 3, 5)

Result = dict[str, Any]


def over_pipelines(
    args: argparse.Namespace,
    argv: Sequence[str],
    one: Callable[[argparse.Namespace], Result],
    row: Callable[[Result], Mapping[str, Any]],
) -> Result:
    """The results of `one` by pipeline; on a terminal a line for each, of what `row` makes of it.

    one: the command on the arguments with a pipeline file. The exit code is the worst of all.
    Raises ConfigurationError as `pipeline_files` does.
    """
    results = {}
    for file in pipeline_files(args.pipelines, args.warehouse):
        results[file.name] = _result(file, args, one)
    code = worst(int(result.get("exit_code", 0)) for result in results.values())
    told: Any = results
    if looked_on(argv):
        told = [
            {"pipeline": name, "status": result.get("status", "done")}
            | dict(row(result))
            | {"error": str(result.get("error", "")).partition("\n")[0] or None}
            for name, result in results.items()
        ]
    about()
    return {"status": "failed" if code else "done", "exit_code": code, "pipelines": told}


def worst(codes: Any) -> int:
    """The exit code that stands for several; 0 where there is none but 0."""
    failed = set(codes) - {0}
    return next((code for code in WORST if code in failed), max(failed, default=0))


def _result(
    file: PipelineFile, args: argparse.Namespace, one: Callable[[argparse.Namespace], Result]
) -> Result:
    about(pipeline=file.name)
    try:
        if file.fault is not None:
            raise ConfigurationError(file.fault)
        return one(argparse.Namespace(**vars(args) | {"pipeline": str(file.file)}))
    except Exception as error:
        if was_interrupted(error):
            raise
        return {"status": "failed"} | failure_of(error)
