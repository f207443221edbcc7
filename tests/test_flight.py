"""The flight of the cube method: against slow, obvious steps with the same random numbers."""

import numpy as np
import pytest

from reference.slow_designs import slow_flight
from spark_jobs.selection.designs.flight import flight


def walls(n: int, p: int, kind: str, seed: int):
    """phi and columns, of which the first are the probabilities over themselves: 1."""
    random = np.random.default_rng(seed)
    phi = random.uniform(0.05, 0.95, n)
    columns = random.normal(size=(n, p))
    columns[:, 0] = 1.0
    if kind == "collinear" and p > 2:
        columns[:, 2] = 3 * columns[:, 1] - columns[:, 0]
    if kind == "indicators":
        columns = (random.integers(0, p, n)[:, None] == np.arange(p)).astype(float)
    if kind == "zero column":
        columns[:, -1] = 0.0
    return phi, np.ascontiguousarray(columns)


KINDS = ["general", "collinear", "indicators", "zero column"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "p"), [(1, 1), (5, 2), (30, 4), (60, 8)])
def test_the_flight_is_that_of_the_slow_walk(kind, n, p):
    for seed in range(1, 6):
        phi, columns = walls(n, p, kind, seed)
        expected, left = slow_flight(phi, columns, np.arange(n), seed)
        undecided = flight(phi, columns, np.arange(n), seed)
        assert undecided.tolist() == left
        np.testing.assert_allclose(phi, expected, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "p"), [(3, 5), (200, 3), (5000, 12)])
def test_totals_are_kept_and_at_most_p_rows_end_undecided(kind, n, p):
    for seed in range(1, 6):
        phi, columns = walls(n, p, kind, seed)
        totals, size = phi @ columns, np.abs(columns).sum(axis=0) + 1
        undecided = flight(phi, columns, np.arange(n), seed)
        np.testing.assert_array_less(np.abs(phi @ columns - totals) / size, 1e-9)
        assert undecided.size <= p
        decided = np.delete(phi, undecided)
        assert np.isin(decided, (0.0, 1.0)).all()
        assert ((phi[undecided] > 0) & (phi[undecided] < 1)).all()


def test_rows_that_are_not_named_stay_as_they_are():
    phi, columns = walls(40, 3, "general", 1)
    before = phi.copy()
    flight(phi, columns, np.arange(0, 40, 2), 1)
    np.testing.assert_array_equal(phi[1::2], before[1::2])


def test_each_phi_is_a_martingale():
    """Its mean over 20,000 flights is what it began with: within 4.5 standard errors."""
    phi, columns = walls(8, 2, "general", 3)
    flights = 20_000
    total = np.zeros(8)
    for seed in range(flights):
        end = phi.copy()
        flight(end, columns, np.arange(8), seed)
        total += end
    z = (total / flights - phi) / np.sqrt(phi * (1 - phi) / flights)
    np.testing.assert_array_less(np.abs(z), 4.5)


def test_columns_of_very_different_scales_do_not_disturb_each_other():
    phi, columns = walls(500, 4, "general", 1)
    columns *= [1.0, 1e8, 1e-8, 1e3]
    totals = phi @ columns
    flight(phi, columns, np.arange(500), 1)
    np.testing.assert_allclose((phi @ columns - totals) / np.abs(columns).sum(axis=0), 0, atol=1e-9)
