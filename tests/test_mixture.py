"""The mixture's weights: scores that would have estimated the gradient better gain."""

import numpy as np
import pytest

from spark_jobs.selection import blocks
from spark_jobs.selection.draw import selection_of
from spark_jobs.selection.mixture import LEAST_WEIGHT, updated
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.tasks import sigmoid
from tests.helpers.logged_records import binary_records

HALF = {"one": 0.5, "loss": 0.5}


def test_the_rule_by_hand():
    """V relative to uniform: 1 and 0.5, so e^-1 against e^-0.5 of equal parts."""
    found = updated(HALF, np.array([10.0, 5.0, 10.0]))
    assert found["one"] == pytest.approx(0.367879 / (0.367879 + 0.606531), rel=1e-5)
    assert found["loss"] == pytest.approx(0.606531 / (0.367879 + 0.606531), rel=1e-5)


def test_weights_are_multiplied_not_replaced():
    found = updated({"one": 0.8, "loss": 0.2}, np.array([4.0, 4.0, 4.0]))
    assert found == pytest.approx({"one": 0.8, "loss": 0.2})


def test_a_component_falls_to_the_least_weight_and_can_come_back():
    weights = HALF
    for _ in range(20):
        weights = updated(weights, np.array([1.0, 8.0, 1.0]))
    least = LEAST_WEIGHT / (1 + LEAST_WEIGHT)
    assert least <= weights["loss"] <= LEAST_WEIGHT
    for _ in range(20):
        weights = updated(weights, np.array([1.0, 0.1, 1.0]))
    assert weights["loss"] > 0.9


def test_one_outlier_of_one_refresh_does_not_decide():
    """Ratios count up to 4."""
    assert updated(HALF, np.array([1.0, 1e9, 1.0])) == updated(HALF, np.array([1.0, 4.0, 1.0]))


@pytest.mark.parametrize("seed", range(5))
def test_weights_sum_to_one_and_a_lower_variance_gains(seed):
    random = np.random.default_rng(seed)
    weights = dict(zip("abcd", random.dirichlet(np.ones(4)).tolist(), strict=True))
    variances = random.lognormal(sigma=2, size=5)
    found = updated(weights, variances)
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) > 0
    best = "abcd"[int(np.argmin(variances[:4]))]
    assert found[best] >= weights[best] - 4 * LEAST_WEIGHT


def test_no_gradient_at_all_changes_nothing():
    assert updated(HALF, np.zeros(3)) == pytest.approx(HALF)


@pytest.mark.parametrize("bits", [0, 3])
def test_a_selection_reports_the_next_weights_from_all_its_records(bits, monkeypatch):
    """V_j = sum r^2 / (0.9 s_j / mean + 0.1), computed from every record, drawn or not."""
    monkeypatch.setattr(blocks, "block_bits", lambda count: bits)
    table = binary_records(1000)
    policy = policy_for("mixture", "binary", mixture={"one": 0.5, "residual-norm": 0.5})
    told = selection_of(table, policy=policy, budget=0.1, seed=7).report["mixture"]
    residual = np.abs(sigmoid(table["prediction"].to_numpy()) - table["label"].to_numpy())
    relative = residual / residual.mean()
    one, norm = (residual**2).sum(), (residual**2 / (0.9 * relative + 0.1)).sum()
    assert told["used"] == {"one": 0.5, "residual-norm": 0.5}
    assert told["next"] == pytest.approx(updated(told["used"], np.array([one, norm, one])))
    assert told["next"]["residual-norm"] > 0.5
