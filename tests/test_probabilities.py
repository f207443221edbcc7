"""pi = (1 - floor) min(1, c s) + floor k / N, with the sum of pi = k."""

from dataclasses import replace

import numpy as np
import pytest

from spark_jobs.selection import probabilities as p


def slow_factor(score: np.ndarray, budget: int) -> float:
    """c by bisection: the obvious way."""
    low, high = 0.0, 1e12
    for _ in range(400):
        middle = (low + high) / 2
        short = np.minimum(1, middle * score).sum() < budget
        low, high = (middle, high) if short else (low, middle)
    return high


def solved(score: np.ndarray, budget: int, floor: float = 0.0, blocks: int = 3) -> p.Scale:
    scale = p.Scale(score.size, budget, floor, budget / score.sum(), 0.0)
    while True:
        parts = [p.cap_totals(part, scale) for part in np.array_split(score, blocks)]
        factor = p.next_factor(scale, parts)
        if factor <= scale.factor * (1 + 1e-15):
            return scale
        scale = replace(scale, factor=factor)


SCORES = {
    "equal": np.ones(1000),
    "lognormal": np.random.default_rng(1).lognormal(sigma=2, size=1000),
    "one giant": np.concatenate([np.ones(999), [1e9]]),
    "residuals": np.abs(np.random.default_rng(2).beta(1, 3, size=1000)),
}


@pytest.mark.parametrize("budget", [1, 10, 100, 900])
@pytest.mark.parametrize("scores", list(SCORES))
def test_law_3_the_probabilities_sum_to_the_budget(scores, budget):
    score = SCORES[scores]
    for floor in (0.0, 0.2, 1.0):
        pi = p.scaled(score, solved(score, budget, floor))
        assert pi.sum() == pytest.approx(budget, rel=1e-9)
        assert (pi > 0).all()
        assert (pi <= 1).all()


@pytest.mark.parametrize("scores", list(SCORES))
def test_the_factor_is_that_of_bisection(scores):
    score = SCORES[scores]
    fast = np.minimum(1, solved(score, 100).factor * score)
    np.testing.assert_allclose(fast, np.minimum(1, slow_factor(score, 100) * score), rtol=1e-6)


def test_the_floor_keeps_every_row_reachable():
    score = np.array([0.0, 0.0, 1.0, 1.0])
    pi = p.scaled(score, solved(score, 1, floor=0.2))
    np.testing.assert_allclose(pi, [0.05, 0.05, 0.45, 0.45])
