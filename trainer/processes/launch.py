"""`--processes N`: torchrun's launcher on this machine, with the command's exit codes."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO
from uuid import uuid4

from schemas.log import configure_logging, log


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Train on N processes; the exit code of the rank that failed, 0 if none did.

    When one process fails the others are ended. The first rank's result is the command's; where it
    was ended by another's failure before it had one, that is the result.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    configure_logging()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    code = 0
    with tempfile.TemporaryFile("w+") as output:
        with _stdout_to(output):
            try:
                elastic_launch(config, sys.executable)("-m", "trainer.train", *arguments)
            except ChildFailedError as error:
                codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
                # One whose neighbour failed ends by a signal, or with 1 for a broken connection.
                code = max((c for c in codes.values() if c > 0), default=1)
                log.error("ranks that failed, with their exit codes: %s", codes)
        output.seek(0)
        lines = output.read().splitlines()
    failed = {"status": "failed", "exit_code": code, "error": "a rank failed: see its log"}
    print(lines[-1] if lines else json.dumps(failed), flush=True)
    return code


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
