"""Mean matching: the drawn rows' mean loss is that of the group, in swaps within strata."""

import numpy as np
import pytest

from reference.slow_designs import slow_swaps
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.designs.mean_match import GROUP, swap_to_mean
from spark_jobs.selection.hashing import hash_step
from tests.helpers.drawing import drawn_by, population, with_loss


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_the_drawn_mean_is_that_of_the_group(sigma):
    loss = np.random.default_rng(4).lognormal(sigma=sigma, size=GROUP)
    rows = with_loss(population([0.1] * GROUP), loss)
    gaps = []
    for seed in range(1, 21):
        drawn = drawn_by("mean-match", rows, seed)
        assert drawn.sum() == 100
        gaps.append(abs(loss[drawn].mean() / loss.mean() - 1))
    assert np.median(gaps) < 1e-4


def test_every_group_of_a_block_has_its_own_mean():
    loss = np.random.default_rng(4).lognormal(size=3 * GROUP)
    rows = with_loss(population([0.1] * 3 * GROUP), loss)
    order, _ = rows.blocks(1, 0)
    drawn = drawn_by("mean-match", rows, 1)
    for group in np.split(order, 3):
        assert loss[group][drawn[group]].mean() == pytest.approx(loss[group].mean(), rel=1e-3)


def test_swaps_stay_within_strata():
    stratum = np.random.default_rng(5).integers(0, 3, GROUP)
    pi = 60 / np.bincount(stratum)[stratum]
    loss = np.random.default_rng(6).lognormal(size=GROUP) * (1 + stratum)
    rows = with_loss(population(pi, stratum=stratum), loss)
    for seed in range(1, 11):
        start, drawn = (drawn_by(name, rows, seed) for name in ("systematic", "mean-match"))
        assert (start != drawn).any()
        assert np.bincount(stratum[drawn]).tolist() == [60, 60, 60]
        before, after = (abs(loss[mask].mean() / loss.mean() - 1) for mask in (start, drawn))
        assert after <= before


@pytest.mark.parametrize("strata", [1, 3])
def test_swaps_are_those_of_the_slow_loop(strata):
    random = np.random.default_rng(7)
    for case in range(20):
        loss, stratum = random.lognormal(size=60), random.integers(0, strata, 60)
        drawn = random.permutation(60) < 12
        seed = hash_step(1, case)
        slow = slow_swaps(loss, stratum, drawn, seed)
        swap_to_mean(loss, stratum, drawn, np.uint64(seed))
        np.testing.assert_array_equal(drawn, slow)


def test_equal_losses_need_no_swap():
    rows = with_loss(population([0.1] * 100), np.ones(100))
    np.testing.assert_array_equal(drawn_by("mean-match", rows, 1), drawn_by("systematic", rows, 1))


def test_mean_match_promises_no_probabilities():
    assert not DESIGNS["mean-match"].exact


def test_a_giant_that_was_drawn_is_swapped_out_again():
    loss = np.r_[np.random.default_rng(4).lognormal(size=GROUP - 1), 300.0]
    rows = with_loss(population([0.1] * GROUP), loss)
    starts = [drawn_by("systematic", rows, seed)[-1] for seed in range(1, 31)]
    assert any(starts)
    for seed in np.flatnonzero(starts) + 1:
        drawn = drawn_by("mean-match", rows, int(seed))
        assert drawn.sum() == 100
        assert not drawn[-1]
        assert loss[drawn].mean() == pytest.approx(loss.mean(), rel=1e-3)
