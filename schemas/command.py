"""The contract of every command line: one result on stdout, JSON or, for a person at a terminal,
tables; the log on stderr; and exit codes."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime
from typing import Any

from schemas.errors import ConfigurationError
from schemas.faults import fault_of
from schemas.layout import HOLE, located_by_file
from schemas.log import about, configure_logging, log, without_passwords
from schemas.pipeline import Pipeline, refused
from schemas.progress import told
from schemas.signals import (
    INTERRUPTED,
    TERMINATED,
    end_children,
    terminable,
    was_interrupted,
)
from schemas.terminal import JSON, looked_on, show
from schemas.validation.examine import examine

# A window of ten years before the first still lies in the calendar, and so in every library's.
FIRST, LAST = date(1700, 1, 1), date(9000, 12, 31)  # a window must not leave the calendar


def add_common_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """`--pipeline` and `--warehouse`, which every command takes; several: or `--pipelines`."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--pipeline", metavar="FILE", help="the pipeline's TOML file")
    if several:
        which.add_argument("--pipelines", metavar="FOLDER", help="all the pipeline files there")
    parser.add_argument(
        "--warehouse",
        default=os.environ.get("TENFORWARD_WAREHOUSE", "./warehouse"),
        metavar="PLACE",
        help="where the tables are, a folder or a URI such as s3://bucket/prefix; {pipeline} in it"
        " is the pipeline's name (default: $TENFORWARD_WAREHOUSE, else ./warehouse)",
    )
    parser.add_argument(
        JSON, action="store_true", help="JSON on a terminal too; no summary in words"
    )


def pipeline_of(
    args: argparse.Namespace,
    overrides: dict[str, Any] | None = None,
    *,
    writes: bool = True,
    trains: bool = False,
    warehouse: bool = True,
    owned: bool = True,
) -> Pipeline:
    """The pipeline that a command line names, once every rule holds of it and of its warehouse.

    writes: whether the command changes the warehouse. trains: whether it trains. warehouse: whether
    it looks at the warehouse. owned: whether that must be the pipeline's. `args.warehouse` is the
    pipeline's own from here on, `{pipeline}` in it replaced. The log lines from here
    on are about the pipeline, and about the day of `--ds`; a job that knows more says so by
    `about`.

    Raises ConfigurationError with every fault that there is.
    """
    writes = writes and not getattr(args, "dry_run", False)
    args.warehouse = located_by_file(args.warehouse, args.pipeline)
    # Of a file that tells no name it is not known where its warehouse is.
    place = args.warehouse if warehouse and HOLE not in args.warehouse else None
    read = examine(args.pipeline, place, overrides, writes=writes, trains=trains, owned=owned)
    if read.pipeline is not None:  # what is told of its warehouse is told of it
        about(pipeline=read.pipeline.name, ds=getattr(args, "ds", None))
    if read.faults or read.pipeline is None:
        raise refused(args.pipeline, read.faults)
    return read.pipeline


def budget_text(text: str) -> float | str:
    """A number as a number, so that the command line and the file mean the same budget."""
    try:
        return float(text)
    except ValueError:
        return text


def parse_date(text: str) -> date:
    """A date as YYYY-MM-DD, for argparse."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; write YYYY-MM-DD") from None
    if not FIRST <= day <= LAST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day from {FIRST} to {LAST}")
    return day


def run_command(
    job: Callable[[Sequence[str] | None], dict[str, Any]],
    argv: Sequence[str] | None,
    *,
    tells: bool = True,
) -> int:
    """Run `job(argv)`, print its result on stdout, return the exit code. tells: whether long steps
    are told of on stderr; one process of several does.

    The result is one line of JSON; on a terminal, where --json is not given, tables.

    A job that ended with some of its work failed says so by `exit_code` in its result.
    """
    configure_logging()
    about()
    given = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(given):
        job(argv)  # argparse prints the help and exits; stdout is still the caller's
    with stdout_kept_for_result(writer(given)) as emit, terminable() as asked:
        try:
            with told("working") if tells else nullcontext():
                result = job(argv)
            log.info("%s", result.get("status", "done"))
            emit(result)
            return int(result.get("exit_code", 0))
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - of whatever kind
            if asked.to_end or was_interrupted(error):
                return _interrupted(TERMINATED if asked.to_end else INTERRUPTED, emit)
            return _failed(error, emit)


Emit = Callable[[dict[str, Any]], None]


def _interrupted(code: int, emit: Emit) -> int:
    log.error("interrupted; what was finished stays, repeat the command to go on")
    emit({"status": "interrupted", "exit_code": code})
    end_children()
    return code


def _failed(error: BaseException, emit: Emit) -> int:
    failure = failure_of(error)
    emit({"status": "failed", **failure})
    return int(failure["exit_code"])


def failure_of(error: BaseException) -> dict[str, Any]:
    """What a result says of a failure; the log says it in a line where it was to be expected, else
    with its traceback."""
    fault = fault_of(error)
    if fault is None:
        log.error("unexpected failure", exc_info=error)
        return {"exit_code": 1, "error": f"{type(error).__name__}: {error}"}
    log.error("%s", fault)
    return {"exit_code": fault.exit_code, "error": str(fault), **fault.details}


def writer(argv: Sequence[str]) -> Emit:
    """What a command line prints its result by."""
    return show if looked_on(argv) else write_json


def write_json(result: dict[str, Any]) -> None:
    """One line on stdout; where nobody reads it any more, such as `| head`, it is left."""
    try:
        print(without_passwords(json.dumps(result, default=str)), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python fails once more as it ends


@contextmanager
def stdout_kept_for_result(write: Emit = write_json) -> Iterator[Emit]:
    """Send file descriptor 1 to stderr meanwhile: the JVM and Petastorm print to it at will."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    result: list[dict[str, Any]] = []
    try:
        yield result.append
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        for entry in result:
            write(entry)


def require_over(ds: date, option: str = "--ds") -> None:
    """Refuse a UTC day that has not ended: half a day done would count as the whole of it."""
    if ds >= datetime.now(UTC).date():
        raise ConfigurationError(
            f"{option} = {ds}: this UTC day is not over. Remedy: give an earlier day."
        )


def require_order(start: date, end: date) -> None:
    """Refuse a range that runs backwards."""
    if start > end:
        raise ConfigurationError(
            f"--start {start} is after --end {end}. Remedy: give the earlier date as --start."
        )
