"""The k largest: against a full sort."""

from dataclasses import replace

import numpy as np
import pytest

from spark_jobs.selection.designs import DESIGNS
from tests.helpers.drawing import Population, drawn_by, population

SIZES = {
    "distinct": np.random.default_rng(1).lognormal(sigma=3, size=400),
    "many ties": np.random.default_rng(2).integers(0, 5, 400).astype(float),
    "all equal": np.ones(400),
    "zeros": np.r_[np.zeros(390), np.arange(10.0)],
    "neighbouring floats": 1 + np.arange(400) % 7 * np.spacing(1.0),
    "tiny to huge": np.r_[np.full(200, 5e-324), np.full(200, 1.7e308)],
}


def by_sorting(rows: Population, k: int, seed: int) -> np.ndarray:
    """Ascending by (size, hash); the last k are drawn."""
    order, (block,) = rows.blocks(seed, 0)
    ascending = np.lexsort((block.hash, block.size))
    mask = np.zeros(order.size, bool)
    mask[order[ascending[order.size - k :]]] = True
    return mask


@pytest.mark.parametrize("k", [1, 7, 200, 399, 400])
@pytest.mark.parametrize("kind", list(SIZES))
def test_top_draws_what_a_sort_draws(kind, k):
    rows = replace(population([0.5] * 400), size=SIZES[kind])
    for seed in (1, 2, 3):
        expected = by_sorting(rows, k, seed)
        for bits in (0, 3):
            fast = drawn_by("top", rows, seed, bits, budgets=np.array([k]))
            np.testing.assert_array_equal(fast, expected)


def test_ties_are_broken_otherwise_by_another_seed():
    rows = replace(population([0.5] * 40), size=np.ones(40))
    k = np.array([4])
    sets = {drawn_by("top", rows, seed, budgets=k).tobytes() for seed in range(1, 20)}
    assert len(sets) > 10


def test_top_promises_no_probabilities():
    assert not DESIGNS["top"].exact
    assert DESIGNS["top"].nominal
