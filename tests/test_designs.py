"""How a set is drawn: exact size, exact inclusion probabilities, or a plain word that not."""

import numpy as np
import pyarrow as pa
import pytest

from spark_jobs.selection.designs import DESIGNS, ONE, mean_match, starts, systematic, unit_totals
from spark_jobs.selection.hashing import hash_ids

N = 120
IDS = pa.array([f"id{i}" for i in range(N)])
DRAWS = 10_000


def drawn_by(design: str, probability: np.ndarray, loss: np.ndarray, seed: int, blocks: int = 1):
    """Mask over the rows as given, drawn in hash order and in `blocks` blocks."""
    order = np.argsort(hash_ids(IDS, seed)[: probability.size])
    parts = np.array_split(order, blocks)
    budget = round(probability.sum())
    begin = starts([unit_totals(probability[part]) for part in parts], budget, seed)
    mask = np.zeros(probability.size, bool)
    for part, start in zip(parts, begin, strict=True):
        mask[part] = DESIGNS[design].draw(probability[part], loss[part], start, seed)
    return mask


def probabilities(kind: str) -> np.ndarray:
    random = np.random.default_rng(3)
    score = {"uniform": np.ones(N), "skewed": random.lognormal(sigma=1, size=N)}[kind]
    pi = np.minimum(1, 12 * score / score.sum())
    for _ in range(50):
        below = pi < 1
        pi[below] *= (12 - (~below).sum()) / pi[below].sum()
        pi = np.minimum(1, pi)
    return pi


@pytest.mark.parametrize("kind", ["uniform", "skewed"])
def test_law_3_systematic_inclusion_frequencies_equal_the_probabilities(kind):
    pi = probabilities(kind)
    counts = np.zeros(N)
    for seed in range(1, DRAWS + 1):
        counts += drawn_by("systematic", pi, pi, seed, blocks=3)
    uncertain = pi < 1
    assert (counts[~uncertain] == DRAWS).all()
    expected, spread = DRAWS * pi[uncertain], DRAWS * pi[uncertain] * (1 - pi[uncertain])
    chi2 = ((counts[uncertain] - expected) ** 2 / spread).sum()
    freedom = uncertain.sum()
    assert abs(chi2 - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("design", list(DESIGNS))
@pytest.mark.parametrize("kind", ["uniform", "skewed"])
def test_the_size_is_exact_whatever_the_seed(design, kind):
    pi = probabilities(kind)
    for seed in range(1, 300):
        assert drawn_by(design, pi, pi, seed, blocks=1 + seed % 5).sum() == 12


def test_law_1_blocks_do_not_change_a_systematic_draw():
    pi = probabilities("skewed")
    for seed in range(1, 50):
        whole = drawn_by("systematic", pi, pi, seed, blocks=1)
        for blocks in (2, 7, 64):
            np.testing.assert_array_equal(drawn_by("systematic", pi, pi, seed, blocks), whole)


def test_everything_is_drawn_where_every_probability_is_one():
    assert drawn_by("systematic", np.ones(N), np.ones(N), 1).all()


def test_units_that_do_not_sum_to_the_budget_are_refused():
    with pytest.raises(ArithmeticError, match="k = 12"):
        starts([unit_totals(np.full(N, 0.2))], 12, 1)


def test_systematic_against_the_slow_walk():
    """Row by row: draw where the running total passes the next whole number."""
    pi = probabilities("skewed")
    start = starts([unit_totals(pi)], 12, 5)[0]
    total, slow = start.offset / ONE, []
    for value in pi:
        slow.append(int(total + value) > int(total))
        total += value
    np.testing.assert_array_equal(systematic(pi, pi, start, 5), slow)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_mean_match_equals_the_mean_of_its_block(sigma):
    loss = np.random.default_rng(4).lognormal(sigma=sigma, size=1000)
    pi = np.full(1000, 0.1)
    gaps = []
    for seed in range(1, 21):
        start = starts([unit_totals(pi)], 100, seed)[0]
        drawn = mean_match(pi, loss, start, seed)
        assert drawn.sum() == 100
        gaps.append(abs(loss[drawn].mean() / loss.mean() - 1))
    assert np.median(gaps) < 1e-4


def test_mean_match_draws_another_set_for_another_seed():
    loss = np.random.default_rng(4).lognormal(size=1000)
    pi = np.full(1000, 0.1)
    first, second = (mean_match(pi, loss, starts([unit_totals(pi)], 100, s)[0], s) for s in (1, 2))
    assert (first != second).any()
    assert not DESIGNS["mean-match"].exact
