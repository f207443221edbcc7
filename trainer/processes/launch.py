"""`--processes N`: torchrun's launcher on this machine, with the command's exit codes."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from uuid import uuid4

from schemas.command import writer
from schemas.log import configure_logging, log
from schemas.signals import INTERRUPTED, TERMINATED

RESULTS = "TENFORWARD_RESULTS"  # the folder in which each rank leaves its result, by its number


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Train on N processes; the exit code of the rank that failed, 0 if none did, 130 or 143 where
    a signal ended them.

    When one process fails the others are ended. The result printed is the first rank's, or that of
    the rank whose exit code it is; where it was ended before it had one, that is the result.
    """
    configure_logging()
    with TemporaryDirectory(prefix="tenforward-") as folder:
        results = Path(folder)
        code, rank = _run(processes, arguments, results)
        lines = _lines(results, rank)
    if code in (INTERRUPTED, TERMINATED):
        result = {"status": "interrupted", "exit_code": code}
    elif lines:
        result = json.loads(lines[-1])
    else:
        result = {"status": "failed", "exit_code": code, "error": "a rank failed: see its log"}
    writer(arguments)(result)
    return code


def _run(processes: int, arguments: Sequence[str], results: Path) -> tuple[int, int]:
    """The exit code of all ranks together, and the rank whose it is."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    os.environ[RESULTS] = str(results)
    try:
        with (results / "0").open("w") as output, _stdout_to(output):
            elastic_launch(config, sys.executable)("-m", "trainer.train", *arguments)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        log.error("ranks that failed, with their exit codes: %s", codes)
        return _decisive(codes)
    except SignalException as error:
        log.error("interrupted; what was finished stays, repeat the command to go on")
        return 128 + int(error.sigval), 0
    finally:
        del os.environ[RESULTS]
    return 0, 0


def _decisive(codes: Mapping[int, int]) -> tuple[int, int]:
    """Of the codes by rank the one that says what went wrong, and its rank: a rank whose neighbour
    failed ends by a signal, or with 1 for a broken connection."""
    own = {rank: code for rank, code in codes.items() if 0 < code < INTERRUPTED}
    rank = max(own, key=lambda rank: (own[rank], -rank), default=0)
    return own.get(rank, 1), rank


def _lines(results: Path, rank: int) -> list[str]:
    file = results / str(rank)
    return file.read_text().splitlines() if file.exists() else []


def own_stdout() -> None:
    """Give a rank that helps a stdout of its own: the command's carries one result."""
    if RESULTS in os.environ:
        with (Path(os.environ[RESULTS]) / os.environ["RANK"]).open("w") as file:
            os.dup2(file.fileno(), 1)
    else:
        os.dup2(2, 1)


@contextmanager
def _stdout_to(file: IO[str]) -> Iterator[None]:
    """File descriptor 1, which the processes inherit, is `file` meanwhile."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
