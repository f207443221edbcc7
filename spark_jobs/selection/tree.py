"""Adding up the results of blocks in one order, whoever holds the blocks.

A floating-point sum depends on the order of addition. Blocks are ranges of the hash order and
their number is a power of two, so a pairwise tree over their indices is the same tree whether one
process folds all of it or many fold a part each.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def fold(values: Mapping[int, T], levels: int, add: Callable[[T, T], T]) -> dict[int, T]:
    """Results by index, after adding 2i and 2i + 1 into i `levels` times; absent ones are nothing.

    With as many levels as the index has bits, one result is left, at index 0.
    """
    level = {index: values[index] for index in sorted(values)}
    for _ in range(levels):
        above: dict[int, T] = {}
        for index, value in level.items():
            half = index >> 1
            above[half] = add(above[half], value) if half in above else value
        level = above
    return level


def add_sums(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Dictionaries of numbers or arrays, added key by key."""
    return {name: a[name] + b[name] for name in a}
