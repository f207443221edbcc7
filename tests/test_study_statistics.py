"""Resamples of the study, intervals, p-values, Holm, shares of a gap."""

import numpy as np
import pytest

from benchmarks.study.estimate import (
    Estimate,
    estimates,
    interval,
    minus,
    p_value,
    pooled_share,
    share_closed,
    standard_error,
    summed,
)
from benchmarks.study.holm import adjusted
from benchmarks.study.resample import RESAMPLES, block_length, draw_days, draws, means
from tests.helpers import study_results as made_up

TRUTH = {"uniform": 0.5, "arm": 0.499, "all": 0.495}  # the arm closes a fifth of the gap


# --- resamples ---


def test_days_are_resampled_in_circular_blocks_of_three() -> None:
    drawn = draw_days(np.random.default_rng(0), 10, 200)
    assert drawn.shape == (200, 10)
    for start in (0, 3, 6):
        steps = np.diff(drawn[:, start : start + 3], axis=1) % 10
        assert (steps == 1).all()
    assert {int(day) for day in drawn[:, 0]} == set(range(10))


@pytest.mark.parametrize(("days", "length"), [(1, 1), (5, 1), (6, 2), (8, 2), (9, 3), (40, 3)])
def test_few_days_have_shorter_blocks(days: int, length: int) -> None:
    assert block_length(days) == length


def test_the_vectorised_means_are_those_of_loops() -> None:
    random = np.random.default_rng(1)
    values, rows = random.random((3, 4, 7)), random.integers(1, 9, 7).astype(np.float64)
    drawn = draws("linear", 4, 7, resamples=25)
    found = means(values, rows, drawn)
    for resample in range(25):
        days = np.repeat(np.arange(7), drawn.days[resample].astype(int))
        seeds = np.repeat(np.arange(4), drawn.seeds[resample].astype(int))
        assert (len(days), len(seeds)) == (7, 4)
        for arm in range(3):
            of_seeds = []
            for seed in seeds:
                total, count = 0.0, 0.0
                for day in days:
                    total += values[arm, seed, day] * rows[day]
                    count += rows[day]
                of_seeds.append(total / count)
            assert found[resample, arm] == pytest.approx(sum(of_seeds) / 4, rel=1e-12)


def test_a_data_set_has_the_same_resamples_each_time_and_others_have_others() -> None:
    one, again, other = draws("linear", 8, 12), draws("linear", 8, 12), draws("digits", 8, 12)
    assert (one.days == again.days).all()
    assert (one.seeds == again.seeds).all()
    assert (one.days != other.days).any()


def test_what_all_arms_share_is_not_in_a_difference() -> None:
    random = np.random.default_rng(2)
    days = random.random((1, 1, 9))
    values = np.concatenate([days, days - 0.25]) + np.zeros((1, 4, 1))
    uniform, arm = estimates(values, np.ones(9), draws("linear", 4, 9, 500))
    assert interval(minus(arm, uniform)) == pytest.approx((-0.25, -0.25, -0.25))
    assert interval(uniform).high - interval(uniform).low > 0.1


# --- intervals and p ---


def simulated(
    study: int, means_of: dict[str, float], resamples: int = 1000, **effects: float
) -> list[Estimate]:
    random = np.random.default_rng([17, study])
    values = made_up.losses(random, means_of, 8, 16, **effects)
    rows = random.integers(900, 1100, 16).astype(np.float64)
    return estimates(values, rows, draws(str(study), 8, 16, resamples))


@pytest.mark.parametrize(
    "effects",
    [
        {"noise": 0.001, "seed": 0.001, "both": 0.0005},
        {"noise": 0.002, "seed": 0.0, "both": 0.0},
        {"noise": 0.0, "seed": 0.002, "both": 0.0},
    ],
    ids=["days and seeds", "days", "seeds"],
)
def test_intervals_of_95_percent_hold_the_truth_that_often(effects: dict[str, float]) -> None:
    """300 simulated studies of 16 days and 8 seeds: 95 % within three standard errors of 300."""
    difference, share, bound, judged = 0, 0, 0, 0
    for study in range(300):
        uniform, arm, full = simulated(study, TRUTH, **effects)
        _, low, high = interval(minus(arm, uniform))
        difference += low <= -0.001 <= high
        closed = share_closed(uniform, arm, full)
        if closed is not None:
            judged += 1
            share += closed.interval.low <= 0.2 <= closed.interval.high
            bound += closed.lower <= 0.2
    assert judged > 270
    assert 0.912 <= difference / 300 <= 0.988
    assert 0.912 <= share / judged <= 0.988
    assert 0.912 <= bound / judged <= 0.988


def test_what_only_days_and_seeds_together_do_is_overestimated() -> None:
    """The crossed bootstrap's known fault, on the safe side."""
    held = 0
    for study in range(150):
        uniform, arm, _ = simulated(study, TRUTH, noise=0.0, seed=0.0, both=0.003)
        _, low, high = interval(minus(arm, uniform))
        held += low <= -0.001 <= high
    assert held / 150 >= 0.95


def test_a_table_without_differences_seldom_claims_one() -> None:
    """Four data sets and ten arms that are all the same, 30 times: 5 % of the tables claim
    something, give or take three standard errors (it was 30 to 50 % with plain percentiles)."""
    alike = {str(arm): 0.5 for arm in range(11)}
    claimed = 0
    for table in range(30):
        p = []
        for data in range(4):
            uniform, *arms = simulated(4 * table + data, alike, RESAMPLES)
            p += [p_value(minus(arm, uniform)) for arm in arms]
        claimed += bool((adjusted(np.array(p)) <= 0.05).any())
    assert claimed <= 5


def test_the_standard_error_of_days_is_that_of_the_textbook() -> None:
    """Blocks of one day, no seeds' effect: the days' standard deviation over the root of their
    number, with one degree of freedom fewer than days."""
    days = np.random.default_rng(3).standard_normal(5)
    values = days[None, None, :] + np.zeros((1, 3, 1))
    (found,) = estimates(values, np.ones(5), draws("linear", 3, 5, 20_000))
    error, freedom = standard_error(found)
    assert error == pytest.approx(days.std(ddof=1) / np.sqrt(5), rel=0.03)
    assert freedom == pytest.approx(4.0)


def test_p_is_never_0_and_1_where_nothing_differs() -> None:
    zeros, units = np.zeros(999), (5.0, 8.0)
    assert p_value(Estimate(0.0, zeros, np.zeros((2, 999)), units)) == 1.0
    far = np.random.default_rng(4).standard_normal((3, 999)) - 100.0
    assert p_value(Estimate(-100.0, far[0], far[1:], units)) == pytest.approx(2 / 1000)


def test_holm_by_hand() -> None:
    """Sorted: .005 x 4, .01 x 3, .03 x 2, .04 x 1, each at least the one before."""
    found = adjusted(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_stops_at_1() -> None:
    assert adjusted(np.array([0.6, 0.9])) == pytest.approx([1.0, 1.0])
    assert adjusted(np.array([])).shape == (0,)


# --- shares of the gap ---


def around(value: float, width: float, number: int, kinds: int = 2) -> Estimate:
    random = np.random.default_rng([5, number])
    spread = value + width * random.standard_normal((kinds + 1, 2000))
    return Estimate(value, spread[0], spread[1:], (9.0,) * kinds)


def test_the_share_is_the_ratio_of_the_gains() -> None:
    closed = share_closed(around(0.5, 0, 0), around(0.48, 1e-9, 1), around(0.46, 0, 2))
    assert closed is not None
    assert closed.interval.value == pytest.approx(0.5)
    assert closed.interval.low <= closed.lower <= closed.interval.value <= closed.interval.high


def test_a_ratio_without_a_gap_is_none() -> None:
    uniform, full = around(0.5, 0.001, 0), around(0.4995, 0.001, 1)
    assert interval(minus(uniform, full)).low < 0
    assert share_closed(uniform, around(0.49, 0.001, 2), full) is None
    assert share_closed(full, uniform, around(0.6, 0.001, 3)) is None  # all rows are worse


def test_data_sets_are_pooled_by_relative_gains() -> None:
    """(.02 / .5 + 0 / 100) over (.04 / .5 + 2 / 100): whatever the second one's unit."""
    one = around(0.5, 0, 0), around(0.48, 0, 1), around(0.46, 0, 2)
    other = around(100.0, 0, 3), around(100.0, 0, 4), around(98.0, 0, 5)
    pooled = pooled_share([one, other])
    assert pooled is not None
    assert pooled.interval.value == pytest.approx(0.4)


def test_the_errors_of_independent_data_sets_add_in_squares() -> None:
    one, other = around(1.0, 0.3, 1, kinds=1), around(1.0, 0.4, 2, kinds=1)
    apart_error = standard_error(one)[0] ** 2 + standard_error(other)[0] ** 2
    error, freedom = standard_error(summed([one, other]))
    assert error**2 == pytest.approx(apart_error)
    assert 8 < freedom < 16
