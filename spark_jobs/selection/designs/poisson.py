"""Poisson sampling: every candidate on its own, by a uniform number hashed from its id."""

from typing import Any

import numba
import numpy as np

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs.design import Block
from spark_jobs.selection.hashing import hash_of_hashes

_SALT = 0x706F6973736F6E  # the order of the blocks is the hash itself; this number is another


def draw(block: Block, state: Any) -> Array:
    """Drawn where the row's uniform number is below its probability."""
    return _below(hash_of_hashes(block.hash, _SALT), block.probability)


@numba.njit(cache=True)
def _below(hashes: Array, probability: Array) -> Array:
    drawn = np.empty(hashes.size, np.bool_)
    for row in range(hashes.size):
        drawn[row] = np.float64(hashes[row] >> np.uint64(11)) * 2.0**-53 < probability[row]
    return drawn
