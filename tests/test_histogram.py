"""Logarithmic bins: ranks and quantiles of values that are never sorted."""

import numpy as np
import pytest

from spark_jobs.selection import histogram
from spark_jobs.selection.histogram import BINS

VALUES = np.random.default_rng(1).lognormal(sigma=2, size=5000)


def width_of(value: float) -> float:
    """How much wider than its lower edge the bin of a value is."""
    at, edges = histogram.bin_of(np.array([value]))[0], histogram.edges()
    return edges[at + 1] / edges[at] - 1


def test_bins_are_narrow_where_losses_lie_and_wider_outside():
    edges = histogram.edges()
    assert edges.shape == (BINS + 1,)
    assert edges[:3].tolist() == [0.0, 2**-60, 2**-60 * (1 + 1 / 8)]
    assert (np.diff(edges) > 0).all()
    assert max(width_of(x) for x in np.geomspace(2**-20, 2**20 - 1, 999)) <= 1 / 32
    assert max(width_of(x) for x in np.geomspace(2**-60, 2**60 * 0.999, 999)) <= 1 / 8
    assert max(width_of(x) for x in np.geomspace(2**60, 2**204 * 0.999, 999)) <= 1
    assert BINS < 2100  # counts are kept by stratum and by model version


@pytest.mark.parametrize("factor", [1e-15, 1e-3, 1.0, 1e3, 1e6, 1e15, 5e59])
def test_values_of_any_size_are_told_apart(factor):
    """The largest loss of an accepted record is (1e30 + 1e30)^2 / 2."""
    at = histogram.bin_of(np.array([0.04, 0.2, 1.0, 4.0]) * factor)
    assert (np.diff(at) > 0).all()
    assert at[-1] < BINS - 1


def test_bins_are_those_of_searchsorted():
    edges = histogram.edges()
    values = np.r_[VALUES, edges[:-1], np.nextafter(edges[1:-1], 0), 0.0, 1e-300, 1e9, 1e300]
    expected = np.searchsorted(edges[:-1], values, side="right") - 1
    np.testing.assert_array_equal(histogram.bin_of(values), expected)


def test_a_zero_or_a_rounding_error_below_it_is_in_the_first_bin():
    assert histogram.bin_of(np.array([0.0, -0.0, -1e-16])).tolist() == [0, 0, 0]


def test_counts_are_those_of_numpy_by_group():
    group = np.arange(VALUES.size) % 3
    found = histogram.counts(VALUES, group, 4)
    assert found.shape == (4, BINS)
    assert found[3].sum() == 0
    for g in range(3):
        expected = np.histogram(VALUES[group == g], np.r_[histogram.edges()[:-1], np.inf])[0]
        np.testing.assert_array_equal(found[g], expected)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_quantiles_are_those_of_a_sort_within_a_bin(share):
    found = histogram.quantile(histogram.counts(VALUES, np.zeros(5000), 1)[0], share)
    assert found == pytest.approx(np.quantile(VALUES, share), rel=0.04)


def test_quantiles_of_one_value_lie_in_its_bin():
    counts = histogram.counts(np.full(10, 3.0), np.zeros(10), 1)[0]
    for share in (0.01, 0.5, 1.0):
        assert histogram.quantile(counts, share) == pytest.approx(3.0, rel=0.04)


def test_ranks_are_those_of_a_sort_within_a_bin():
    """Share of the group's values at or below: to a bin's own share of them."""
    group = np.arange(VALUES.size) % 2
    counts = histogram.counts(VALUES, group, 2)
    found = histogram.rank(VALUES, group, counts)
    assert found.min() > 0
    assert found.max() <= 1
    for g in (0, 1):
        own = VALUES[group == g]
        exact = (np.argsort(np.argsort(own)) + 1) / own.size
        widest = counts[g].max() / own.size
        assert np.abs(found[group == g] - exact).max() <= widest + 1e-9
        assert (np.diff(found[group == g][np.argsort(own)]) >= 0).all()


def test_the_largest_values_share_the_open_bin():
    values = np.r_[np.ones(98), 1e150, 1e300]
    rank = histogram.rank(values, np.zeros(100, int), histogram.counts(values, np.zeros(100), 1))
    assert rank[-2:].tolist() == [1.0, 1.0]


def test_a_value_of_zero_has_a_rank_above_zero():
    values = np.zeros(10)
    rank = histogram.rank(values, np.zeros(10, int), histogram.counts(values, np.zeros(10), 1))
    np.testing.assert_array_equal(rank, 0.05)
