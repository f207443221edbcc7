"""Poisson sampling: every row on its own, by a number hashed from its id."""

import struct

import numpy as np
import pytest
import xxhash

from spark_jobs.selection.designs import DESIGNS
from tests.helpers.drawing import PROBABILITIES, drawn_by, misses, population

DRAWS = 10_000
SALT = int.from_bytes(b"poisson")


@pytest.mark.parametrize("kind", list(PROBABILITIES))
def test_law_3_inclusion_frequencies_equal_the_probabilities(kind):
    chi2, far = misses(population(PROBABILITIES[kind]), "poisson", DRAWS, bits=1)
    assert far == []
    assert abs(chi2 - 1) < 5 * np.sqrt(2 / 20)


def uniform_number(row_hash: int) -> float:
    """The first 53 bits of a second hash, as a number in [0, 1)."""
    return (xxhash.xxh64_intdigest(struct.pack("<Q", row_hash), seed=SALT) >> 11) / 2**53


@pytest.mark.parametrize("bits", [0, 3])
def test_poisson_draws_what_the_loop_over_hashes_draws(bits):
    rows = population(PROBABILITIES["capped"] * 10)
    for seed in range(1, 20):
        order, (block,) = rows.blocks(seed, 0)
        slow = [
            int(row)
            for row, row_hash in zip(order, block.hash.tolist(), strict=True)
            if uniform_number(row_hash) < rows.probability[row]
        ]
        fast = np.flatnonzero(drawn_by("poisson", rows, seed, bits))
        assert fast.tolist() == sorted(slow)


def test_rows_are_drawn_independently():
    """The variance of the size is sum pi (1 - pi); a design of fixed size would have none."""
    rows = population([0.3] * 20)
    sizes = [drawn_by("poisson", rows, seed).sum() for seed in range(1, 4001)]
    assert np.mean(sizes) == pytest.approx(6, abs=4 * np.sqrt(4.2 / 4000))
    assert np.var(sizes) == pytest.approx(4.2, rel=4 * np.sqrt(2 / 4000))
    assert not DESIGNS["poisson"].fixed_size
