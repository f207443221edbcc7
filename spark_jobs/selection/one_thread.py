"""Linear algebra on one thread, whose sums come out the same in every process."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """While it is open, NumPy's BLAS uses one thread."""
    return _libraries().limit(limits=1)


@cache
def _libraries() -> ThreadpoolController:
    """Those loaded when first asked: to look for them at each step of a solver takes milliseconds,
    more in a process that has loaded much. NumPy brings its own, so it is among them."""
    return ThreadpoolController()
