"""pi = (1 - floor) min(1, c s) + floor k / N, with the sum of pi = k."""

import numpy as np
import pyarrow as pa
import pytest

from spark_jobs.selection import blocks, draw
from spark_jobs.selection import probabilities as p
from spark_jobs.selection.policies import policy_for

N = 1000
random = np.random.default_rng(1)
SIZES = {
    "all equal": np.ones(N),
    "lognormal": random.lognormal(sigma=2, size=N),
    "one giant": np.r_[np.ones(N - 1), 1e9],
    "two heights": np.r_[np.full(900, 1.0), np.full(100, 50.0)],
    "residuals": np.abs(random.beta(1, 3, size=N)),
    "half zero": np.r_[np.zeros(N // 2), random.random(N - N // 2)],
    "all zero": np.zeros(N),
    "all but one zero": np.r_[np.zeros(N - 1), 1.0],
}


def records_of(size: np.ndarray, version: list[str] | None = None) -> pa.Table:
    """Records of a regression whose loss is the size: half of sqrt(2 s) squared."""
    n = size.size
    columns = {
        "instance_id": np.arange(n),
        "prediction": np.sqrt(2 * size),
        "label": np.zeros(n),
        "model_version": version or ["1"] * n,
    }
    return pa.table(columns)


def pi_of(size: np.ndarray, k: int, floor: float = 0.0, version=None) -> np.ndarray:
    """pi as a whole selection finds it, of sizes in proportion to the loss."""
    policy = policy_for("loss-proportional", "regression", floor=floor)
    records = records_of(size, version)
    drawn = draw(records, policy=policy, budget=f"{k} rows", seed=3, task="regression")
    return drawn["probability"].to_numpy()


def by_bisection(size: np.ndarray, k: int) -> np.ndarray:
    """min(1, c s), with c found the obvious way."""
    low, high = 0.0, 1e15
    for _ in range(300):
        middle = (low + high) / 2
        short = np.minimum(1, middle * size).sum() < k
        low, high = (middle, high) if short else (low, middle)
    return np.minimum(1, high * size)


@pytest.mark.parametrize("floor", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("k", [1, 10, 100, 500, 999, 1000])
@pytest.mark.parametrize("kind", list(SIZES))
def test_law_3_the_probabilities_sum_to_the_budget(kind, k, floor):
    pi = pi_of(SIZES[kind], k, floor)
    assert pi.sum() == pytest.approx(k, rel=1e-9)
    assert pi.min() > 0
    assert pi.max() <= 1


@pytest.mark.parametrize("k", [1, 100, 700])
@pytest.mark.parametrize("kind", list(SIZES))
def test_the_probabilities_are_those_of_bisection(kind, k):
    size = SIZES[kind]
    relative = size / size.mean() if size.any() else np.ones(N)
    expected = by_bisection(np.maximum(relative, p.SMALLEST), k)
    np.testing.assert_allclose(pi_of(size, k), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", list(SIZES))
def test_law_1_blocks_do_not_change_the_probabilities(kind, monkeypatch):
    whole = pi_of(SIZES[kind], 100, 0.2)
    monkeypatch.setattr(blocks, "block_bits", lambda count: 4)
    np.testing.assert_allclose(pi_of(SIZES[kind], 100, 0.2), whole, rtol=1e-12)


def test_the_floor_is_spent_uniformly():
    """k = 2 of sizes 0, 0, 1, 1, 2: c = 1/2 without a cap; a fifth of the budget is 2/25 each."""
    pi = pi_of(np.array([0.0, 0.0, 1.0, 1.0, 2.0]), 2, floor=0.2)
    np.testing.assert_allclose(pi, [0.08, 0.08, 0.48, 0.48, 0.88], atol=1e-5)


def test_a_giant_is_always_drawn_and_the_rest_share_what_it_leaves():
    """k = 3 of sizes 1, 1, 1, 1, 96: the giant would have 2.88."""
    np.testing.assert_allclose(pi_of(np.array([1, 1, 1, 1, 96.0]), 3), [0.5, 0.5, 0.5, 0.5, 1])


def test_scores_of_zero_are_drawn_last_but_can_be_drawn():
    """Ten rows of loss, k = 100: those are certain, the others share 90 alike."""
    pi = pi_of(np.r_[np.zeros(990), np.ones(10)], 100)
    np.testing.assert_allclose(pi, np.r_[np.full(990, 90 / 990), np.ones(10)])


def test_each_model_version_has_its_share_of_the_candidates():
    """The losses of version b are a hundred times those of a: no reason to draw more of it."""
    of_b = np.arange(N) % 4 == 0
    size = random.uniform(0.5, 1.5, N) * np.where(of_b, 100.0, 1.0)
    pi = pi_of(size, 100, version=np.where(of_b, "b", "a").tolist())
    assert pi[of_b].sum() == pytest.approx(25)
    assert pi[~of_b].sum() == pytest.approx(75)
    ratio = pi[of_b] / size[of_b]
    np.testing.assert_allclose(ratio, ratio[0])


def test_a_version_whose_scores_are_all_zero_is_drawn_uniformly():
    of_b = np.arange(N) % 4 == 0
    size = np.where(of_b, 0.0, random.uniform(0.5, 1.5, N))
    pi = pi_of(size, 100, version=np.where(of_b, "b", "a").tolist())
    np.testing.assert_allclose(pi[of_b], 0.1)


@pytest.mark.parametrize("k", [1, 50, 400, 990])
@pytest.mark.parametrize("kind", ["lognormal", "one giant", "two heights", "residuals"])
def test_the_first_factor_is_a_lower_bound_that_saves_passes(kind, k):
    size = SIZES[kind] / SIZES[kind].mean()
    one, stratum = np.ones(1), np.zeros(N, np.int64)
    scale = p.Scale(N, k, 0.0, one * N, one * k, k / size.sum() * one)
    binned = p.binned_totals(size, stratum, scale)
    assert binned["count"].sum() == N
    np.testing.assert_allclose(binned["sum"].sum(), size.sum())
    first = p.first_factor(scale, binned)[0]
    low = k / size.sum()
    capped = by_bisection(size, k)
    if (capped < 1).any():
        exact = (capped / size)[capped < 1].max()
        assert low * (1 - 1e-12) <= first <= exact * (1 + 1e-12)
        # Bins are 3 % wide: what is left for the exact passes is little.
        assert np.minimum(1, first * size).sum() > 0.9 * k


def test_totals_of_sizes_against_plain_numpy():
    size, stratum = random.lognormal(size=N), random.integers(0, 3, N)
    scale = p.Scale(N, 10, 0.0, np.ones(3), np.ones(3), np.array([0.5, 1.0, 2.0]))
    sizes = p.size_totals(size, stratum, scale)
    caps = p.cap_totals(size, stratum, scale)
    for h in range(3):
        own = size[stratum == h]
        at_cap = scale.factor[h] * own >= 1
        assert sizes["sum"][h] == pytest.approx(own.sum())
        assert sizes["largest"][h] == own.max()
        assert caps["capped"][h] == at_cap.sum()
        assert caps["below"][h] == pytest.approx(own[~at_cap].sum())
