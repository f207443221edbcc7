"""`--processes N`: torchrun's launcher on this machine, with the command's exit codes."""

import json
import sys
from collections.abc import Sequence
from uuid import uuid4

from schemas.command import configure_logging, log


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Train on N processes; the exit code of the first rank, or of the one that failed.

    When one process fails the others are ended. The first rank prints the result; where it was
    ended by another's failure, that is said here.
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
    try:
        elastic_launch(config, sys.executable)("-m", "trainer.train", *arguments)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        # A rank whose neighbour failed ends by a signal or a broken connection, with code 1.
        code = max((c for c in codes.values() if c > 0), default=1)
        log.error("ranks that failed, with their exit codes: %s", codes)
        if codes.get(0, -1) < 0:
            text = f"rank {next(iter(codes))} failed; its error is in the log"
            print(json.dumps({"status": "failed", "exit_code": code, "error": text}), flush=True)
        return code
    return 0
