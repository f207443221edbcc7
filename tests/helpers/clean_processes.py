"""Processes that inherit imports and nothing else.

A process forked from a test's own would inherit what earlier tests did there: once autograd has
used its threads, torch refuses to work in a fork. These are forked from a server that has only
imported.
"""

import multiprocessing
from multiprocessing.context import ForkServerContext

_IMPORTED = [
    "tests.helpers.trainer_tables",
    "torch._dynamo",  # 4 s of a core, which the first optimizer of a process would import
    "trainer.fitting.fit",
    "trainer.processes.ranks",
]


def clean_processes() -> ForkServerContext:
    """Where to make a `Process` whose target and arguments can be pickled."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context
