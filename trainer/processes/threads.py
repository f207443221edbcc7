"""One core a process: more cores come from more ranks, not from more threads.

On a model of this size two threads on two busy cores were 25 times slower than one (they wait
for each other at every small operation), and the last bits of a sum depend on how many share it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes in the calling thread meanwhile, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def ahead(items: Iterator[T], name: str) -> Iterator[T]:
    """The same items, none of them None, each fetched by a thread while the one before is used."""
    with ThreadPoolExecutor(1, name, torch.set_num_threads, (1,)) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
