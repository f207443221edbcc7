"""The cube: exact size, and totals that the drawn rows reproduce."""

import numpy as np
import pytest

from spark_jobs.selection.designs import cube
from tests.helpers.drawing import Population, drawn_by, population


def large(n: int = 4000, levels: tuple[int, ...] = (3, 4)) -> Population:
    """Skewed probabilities of a tenth of n rows."""
    size = np.random.default_rng(8).lognormal(sigma=0.5, size=n)
    pi = size * (n / 10) / size.sum()
    return population(pi, levels=levels)


def balanced_columns(rows: Population) -> dict[str, np.ndarray]:
    """What the cube balances, as plain columns."""
    named = {
        "N": np.ones(rows.loss.size),
        "residual": rows.residual[:, 0],
        "loss": rows.loss,
        "label": rows.label,
    }
    for place, count in enumerate(rows.levels):
        for level in range(count):
            named[f"segment{place}={level}"] = (rows.segments[:, place] == level) * 1.0
    return named


def imbalances(rows: Population, seeds: range, bits: int, design: str = "cube") -> dict:
    """By column, of each seed: expanded total less the true total."""
    columns = balanced_columns(rows)
    gaps: dict[str, list[float]] = {name: [] for name in columns}
    for seed in seeds:
        drawn = drawn_by(design, rows, seed, bits)
        for name, x in columns.items():
            gaps[name].append((x[drawn] / rows.probability[drawn]).sum() - x.sum())
    return {name: np.array(values) for name, values in gaps.items()}


@pytest.mark.parametrize("bits", [0, 2, 4])
def test_totals_are_met_within_the_bound_of_landing(bits):
    """Deville and Tille 2004: at most p rows are landed, so no total is off by more than
    p max |x / pi|. The last level of a key is what the others and N leave: twice that."""
    rows = large()
    p = 1 + 4 + sum(count - 1 for count in rows.levels)
    for name, gaps in imbalances(rows, range(1, 31), bits).items():
        x = balanced_columns(rows)[name]
        bound = p * np.abs(x / rows.probability).max()
        assert np.abs(gaps).max() < bound, name


def test_the_totals_are_far_nearer_than_those_of_systematic_sampling():
    rows = large()
    cubes, systematic = (
        imbalances(rows, range(1, 41), 2, design) for design in ("cube", "systematic")
    )
    ratio = {name: cubes[name].std() / systematic[name].std() for name in cubes}
    assert max(ratio[name] for name in ("N", "residual", "loss", "label")) < 0.3, ratio
    assert max(ratio.values()) < 0.4, ratio


def test_the_imbalance_does_not_grow_with_the_blocks():
    rows = large()
    few, many = (imbalances(rows, range(1, 61), bits) for bits in (0, 5))
    ratio = {name: many[name].std() / few[name].std() for name in few}
    assert max(ratio.values()) < 1.6, ratio


def test_the_drawn_rows_of_a_segment_are_its_share_within_a_few():
    """Equal probabilities: balanced on the counts of each segment, to what landing gives up."""
    rows = population([0.1] * 3000, levels=(4,))
    share = np.bincount(rows.segments[:, 0], rows.probability)
    for seed in range(1, 51):
        drawn = drawn_by("cube", rows, seed, bits=2)
        off = np.bincount(rows.segments[drawn, 0], minlength=4) - share
        assert np.abs(off).max() < 4, (seed, off)


@pytest.mark.parametrize("bits", [0, 3])
def test_strata_have_whole_sizes_and_balanced_totals(bits):
    stratum = np.random.default_rng(9).integers(0, 3, 3000)
    pi = np.array([60, 100, 140])[stratum] / np.bincount(stratum)[stratum]
    rows = population(pi, stratum=stratum, levels=(3,))
    for seed in range(1, 11):
        drawn = drawn_by("cube", rows, seed, bits)
        assert np.bincount(stratum[drawn]).tolist() == [60, 100, 140]
    for name, gaps in imbalances(rows, range(1, 11), bits).items():
        x = balanced_columns(rows)[name]
        bound = (3 + 4 + 2) * np.abs(x / rows.probability).max()
        assert np.abs(gaps).max() < bound, name


def test_each_block_leaves_at_most_p_rows_to_be_landed():
    rows = large()
    p = 1 + 4 + 2 + 3
    for block in rows.blocks(1, 3)[1]:
        phi, left = cube.fly(block)
        assert left.rows.size <= p
        assert np.isin(np.delete(phi, left.rows), (0.0, 1.0)).all()
        np.testing.assert_array_equal(phi[left.rows], left.phi)


@pytest.mark.parametrize(
    ("levels", "places"),
    [((), 0), ((3, 4), 2), ((41,), 1), ((42,), 0), ((3, 40), 1), ((3, 39), 2), ((50, 2), 0)],
)
def test_segment_keys_have_columns_while_they_are_few(levels, places):
    assert cube.balanced_places(levels) == places


def test_a_key_of_many_levels_is_drawn_all_the_same():
    rows = population([0.1] * 2000, levels=(3, 300))
    assert drawn_by("cube", rows, 1, bits=2).sum() == 200


@pytest.mark.parametrize("column", ["loss", "label", "residual"])
def test_a_column_that_is_constant_or_zero_disturbs_nothing(column):
    rows = large(1000)
    for value in (0.0, 1.0):
        getattr(rows, column)[:] = value
        for seed in range(1, 6):
            assert drawn_by("cube", rows, seed, bits=2).sum() == 100


def test_multiclass_residuals_are_all_balanced():
    rows = large(2000, levels=())
    random = np.random.default_rng(2)
    logits = random.dirichlet(np.ones(4), 2000) - np.eye(4)[random.integers(0, 4, 2000)]
    rows = Population(**{**rows.__dict__, "residual": logits})
    gaps = []
    for seed in range(1, 21):
        drawn = drawn_by("cube", rows, seed, bits=2)
        assert drawn.sum() == 200
        gaps.append((logits[drawn] / rows.probability[drawn, None]).sum(axis=0) - logits.sum(0))
    bound = (1 + 1 + 4 + 1) * np.abs(logits / rows.probability[:, None]).max()
    assert np.abs(gaps).max() < bound
