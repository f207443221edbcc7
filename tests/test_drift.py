"""Drift: nothing where nothing moved, known values where something did."""

import numpy as np
import pytest

from spark_jobs.selection import histogram
from spark_jobs.selection.drift import FEWEST, distribution, stability_index


def counted(values: np.ndarray) -> dict[str, list[float]]:
    return distribution(histogram.counts(values, np.zeros(values.size), 1)[0])


def test_two_samples_of_one_distribution_give_what_chance_gives():
    rng = np.random.default_rng(1)
    index = [
        stability_index(counted(rng.exponential(size=20_000)), rng.exponential(size=2_000))
        for _ in range(200)
    ]
    # 9 / n + 9 / m, the mean of a chi-square with 9 degrees of freedom in these units.
    assert np.mean(index) == pytest.approx(9 / 2_000 + 9 / 20_000, rel=0.15)
    assert max(index) < 0.02


@pytest.mark.parametrize("unit", [1e-9, 1.0, 5e3, 1e12, 1e40])
@pytest.mark.parametrize(("factor", "least", "most"), [(1.1, 0.005, 0.02), (2.0, 0.3, 0.6)])
def test_larger_losses_show_in_whatever_unit(factor, least, most, unit):
    rng = np.random.default_rng(2)
    before = counted(unit * rng.exponential(size=100_000))
    assert least < stability_index(before, factor * unit * rng.exponential(size=100_000)) < most


def test_the_index_is_the_sum_over_bins():
    before = {"edges": [1.0], "shares": [0.5, 0.5]}
    values = np.repeat([0.5, 2.0], [250, 750])
    wanted = 2 * 0.25 * np.log(3)  # -0.25 ln(0.25 / 0.5) + 0.25 ln(0.75 / 0.5)
    assert stability_index(before, values) == pytest.approx(wanted / 2, rel=0.01)


def test_shares_are_exact_where_most_losses_are_equal():
    values = np.concatenate([np.zeros(700), np.full(200, 3.0), np.full(100, 5.0)])
    before = counted(values)
    assert before["shares"] == [0.7, 0.2, 0.1]
    assert stability_index(before, values) == pytest.approx(0, abs=1e-4)


def test_one_value_or_none_has_no_bins_to_move_between():
    assert counted(np.ones(1000))["shares"] == [1.0]
    assert stability_index(counted(np.ones(1000)), np.zeros(1000)) == 0
    assert distribution(np.zeros(histogram.BINS, np.int64)) == {}


def test_few_rows_tell_nothing():
    assert stability_index(counted(np.ones(10)), np.ones(FEWEST - 1)) is None
