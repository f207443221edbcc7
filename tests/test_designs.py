"""What every design promises: its probabilities, its size, the same rows in any blocks."""

from fractions import Fraction

import numpy as np
import pytest

from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.designs.systematic import ONE, spread, units
from spark_jobs.selection.hashing import hash_step
from tests.helpers.drawing import PROBABILITIES, drawn_by, misses, population, with_loss

DRAWS = 10_000
FIXED = [name for name, design in DESIGNS.items() if design.fixed_size and not design.nominal]
EXACT = [(design, kind) for design in ("systematic", "systematic-sorted") for kind in PROBABILITIES]


@pytest.mark.parametrize(("design", "kind"), [*EXACT, ("loss-stride", "uniform")])
def test_law_3_inclusion_frequencies_equal_the_probabilities(design, kind):
    """Over four blocks and a segment of three levels; cube and poisson have files of their own."""
    chi2, far = misses(population(PROBABILITIES[kind], levels=(3,)), design, DRAWS, bits=2)
    assert far == []
    # Mean 1; rows are not independent, so its spread is wider than that of 20 squared normals.
    assert chi2 < 1 + 5 * np.sqrt(2 / 20)


@pytest.mark.parametrize("bits", [0, 1, 3])
@pytest.mark.parametrize("kind", list(PROBABILITIES))
@pytest.mark.parametrize("design", FIXED)
def test_the_size_is_exact_whatever_the_seed_and_the_blocks(design, kind, bits):
    rows = population(PROBABILITIES[kind], levels=(3,))
    sizes = {int(drawn_by(design, rows, seed, bits).sum()) for seed in range(1, 51)}
    assert sizes == {int(rows.budgets[0])}


@pytest.mark.parametrize("bits", [0, 2])
@pytest.mark.parametrize("design", FIXED)
def test_the_size_of_every_stratum_is_exact(design, bits):
    pi = [0.1] * 10 + [0.25] * 8 + [1.0] * 2 + PROBABILITIES["skewed"] + [0.5, 0.5]
    stratum = [0] * 10 + [1] * 8 + [2] * 2 + [3] * 21 + [4] * 2
    shuffled = np.random.default_rng(1).permutation(len(pi))
    rows = population(np.array(pi)[shuffled], stratum=np.array(stratum)[shuffled], levels=(2,))
    for seed in range(1, 51):
        drawn = drawn_by(design, rows, seed, bits)
        assert np.bincount(rows.stratum[drawn], minlength=5).tolist() == [1, 2, 2, 6, 1]


@pytest.mark.parametrize("design", [name for name in DESIGNS if name != "top"])
def test_everything_is_drawn_where_every_probability_is_one(design):
    assert drawn_by(design, population([1.0] * 12, levels=(2,)), 1, bits=1).all()


@pytest.mark.parametrize("design", FIXED)
def test_one_row_of_many(design):
    for seed in range(1, 20):
        assert drawn_by(design, population([1 / 30] * 30), seed, bits=2).sum() == 1


def test_probabilities_that_do_not_sum_to_the_budget_are_refused():
    with pytest.raises(ArithmeticError, match=r"sum to \+6 away from k = 12"):
        drawn_by("systematic", population([0.3] * 20), 1, budgets=np.array([12]))


def slow_walk(probability, stratum, order, seed) -> list[int]:
    """Row by row, in fractions: drawn where the stratum's total passes the next whole number."""
    total = {h: Fraction(hash_step(seed, h) % ONE, ONE) for h in set(stratum)}
    drawn = []
    for row in order:
        h = stratum[row]
        before, total[h] = total[h], total[h] + Fraction(probability[row]).limit_denominator(10**6)
        if int(total[h]) > int(before):
            drawn.append(int(row))
    return sorted(drawn)


@pytest.mark.parametrize("bits", [0, 1, 4])
@pytest.mark.parametrize("kind", list(PROBABILITIES))
def test_systematic_draws_what_the_slow_walk_draws(kind, bits):
    """Also law 1: one walk, however the rows are cut into blocks."""
    pi = PROBABILITIES[kind]
    rows = population(pi * 2, stratum=[0] * len(pi) + [1] * len(pi))
    for seed in range(1, 100):
        order, _ = rows.blocks(seed, 0)
        slow = slow_walk(rows.probability, rows.stratum.tolist(), order, seed)
        assert np.flatnonzero(drawn_by("systematic", rows, seed, bits)).tolist() == slow


def test_rounding_to_units_is_made_up_for():
    """1/3 is no whole number of units: 0.33 of a unit is missing from every row."""
    rows = population([1 / 3] * 3000)
    assert units(rows.probability).sum() != 1000 * ONE
    for seed in range(1, 20):
        assert drawn_by("systematic", rows, seed, bits=3).sum() == 1000


@pytest.mark.parametrize("bits", [0, 3])
@pytest.mark.parametrize("design", ["systematic", "systematic-sorted", "loss-stride"])
@pytest.mark.parametrize("small", [1.1e-12, 1e-13, 1e-15])
def test_rounding_to_units_is_made_up_for_where_nearly_all_rows_have_a_single_unit(
    small, design, bits
):
    """One row that nearly has the budget of 1, and so many others that they round by much."""
    n = 50_000
    rows = population([1 - n * small, *[small] * n])
    for seed in range(1, 5):
        drawn = drawn_by(design, rows, seed, bits)
        assert drawn.sum() == 1
        assert drawn[0]


def test_what_makes_up_for_rounding_is_spread_over_the_rows():
    """Probabilities change by no more than a few units each, none of them by much of itself."""
    rng = np.random.default_rng(1)
    unit = units(rng.random(1000) * 1e-3)
    added = spread(unit, np.zeros(1000, np.int64), np.arange(1000), np.array([-5000]))
    assert added.sum() == -5000
    assert (unit + added >= 1).all()
    assert np.abs(added / unit).max() < 1e-3
    np.testing.assert_allclose(added, -5000 * unit / unit.sum(), atol=2)


def test_sorted_systematic_draws_each_segment_within_one_of_its_share():
    """In one block; over several, within one a block."""
    rows = population([0.3] * 20 + PROBABILITIES["skewed"] * 3, levels=(4, 3))
    share = np.bincount(rows.segments[:, 0], rows.probability)
    for seed in range(1, 200):
        drawn = drawn_by("systematic-sorted", rows, seed)
        off = np.bincount(rows.segments[drawn, 0], minlength=4) - share
        assert (np.abs(off) < 1).all(), (seed, off)


def test_loss_stride_takes_every_tenth_of_the_sorted_losses():
    """With pi = 1/10 the drawn ranks are r, r + 10, r + 20, ..., r at random."""
    loss = np.random.default_rng(4).permutation(100).astype(float)
    rows = with_loss(population([0.1] * 100), loss)
    starts = set()
    for seed in range(1, 100):
        ranks = np.sort(loss[drawn_by("loss-stride", rows, seed)])
        assert (np.diff(ranks) == 10).all()
        starts.add(int(ranks[0]))
    assert starts == set(range(10))


def test_law_1_another_seed_draws_another_set():
    rows = population([0.3] * 40)
    for design in ("systematic", "systematic-sorted", "loss-stride", "poisson", "cube"):
        sets = {drawn_by(design, rows, seed).tobytes() for seed in range(1, 21)}
        assert len(sets) > 5, design
