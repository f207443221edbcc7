"""A guaranteed number of drawn rows for each level of a segment key."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigurationError, NoDataError
from spark_jobs.selection import blocks, draw
from spark_jobs.selection.draw import selection_of
from spark_jobs.selection.policies import POLICIES, policy_for
from spark_jobs.selection.policy import Strata
from spark_jobs.selection.strata import allocate
from tests.helpers.logged_records import binary_records

DESIGNS = ["systematic", "systematic-sorted", "loss-stride", "cube", "mean-match"]
RARE = ["a"] * 900 + ["b"] * 80 + ["c"] * 20  # a single stratum of 90 %


@pytest.mark.parametrize(
    ("natural", "rows", "budget", "strata", "expected"),
    [
        # No minimum: the natural shares, in whole numbers by largest remainder.
        ([60, 30, 10], [600, 300, 100], 100, Strata(0), [60, 30, 10]),
        ([5.5, 3.3, 1.2], [100, 100, 100], 10, Strata(0), [6, 3, 1]),
        ([3.4, 3.3, 3.3], [100, 100, 100], 10, Strata(0), [4, 3, 3]),
        # c has its 20; the others share 80 as 60 to 38.
        ([60, 38, 2], [600, 380, 20], 100, Strata(0, min_count=20), [49, 31, 20]),
        # b is short only once c has been raised: 20 and 20, a keeps 60.
        ([76, 21, 3], [900, 100, 40], 100, Strata(0, min_count=20), [60, 20, 20]),
        # The larger of a share of the budget, rounded up, and a count.
        ([98, 1, 1], [980, 10, 10], 100, Strata(0, min_share=0.051), [88, 6, 6]),
        ([98, 1, 1], [980, 10, 10], 100, Strata(0, 8, 0.05), [84, 8, 8]),
        # 0.07 x 100 is 7, although 7.000000000000001 in floating point.
        ([98, 1, 1], [980, 10, 10], 100, Strata(0, min_share=0.07), [86, 7, 7]),
        # Minima that take all of the budget.
        ([8, 1, 1], [80, 10, 10], 9, Strata(0, min_count=3), [3, 3, 3]),
        # Nothing natural where no size is: the minimum all the same.
        ([10, 0], [100, 5], 10, Strata(0, min_count=2), [8, 2]),
        # No minimum is a minimum of one: a budget of none would be probabilities of zero.
        ([9.9, 0.1], [99, 1], 10, Strata(0), [9, 1]),
        # A level that is wanted whole.
        ([9, 1], [90, 5], 10, Strata(0, min_count=5), [5, 5]),
    ],
)
def test_budgets_by_hand(natural, rows, budget, strata, expected):
    names = tuple("abc"[: len(rows)])
    found = allocate(np.array(natural, float), np.array(rows), budget, strata, names)
    assert found.tolist() == expected


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    rows=st.lists(st.integers(1, 400), min_size=1, max_size=8),
    share=st.floats(0.01, 1),
    min_count=st.integers(0, 30),
    min_share=st.floats(0, 0.3),
    skew=st.floats(0.1, 3),
)
def test_law_3_budgets_are_whole_sum_to_k_and_hold_the_minimum(
    rows, share, min_count, min_share, skew
):
    there = np.array(rows)
    budget = max(1, int(share * there.sum()))
    minimum = max(1, min_count, int(np.ceil(min_share * budget - 1e-9)))
    assume((there >= minimum).all())
    assume(minimum * there.size <= budget)
    size = there**skew
    natural = np.minimum(there, budget * size / size.sum())
    names = tuple(map(str, range(there.size)))
    found = allocate(natural, there, budget, Strata(0, min_count, min_share), names)
    assert found.dtype.kind == "i"
    assert found.sum() == budget
    assert (found >= minimum).all()
    assert (found <= there).all()


@pytest.mark.parametrize(
    ("strata", "budget", "arithmetic"),
    [
        (
            Strata(0, min_count=21),
            100,
            r"21 rows of 'c' are wanted and 20 are there. Remedy: lower",
        ),
        (Strata(0, min_share=0.4), 100, r"40 rows of 'c' are wanted and 20 are there"),
        (Strata(0, min_count=20), 50, r"3 levels x 20 rows = 60, above the budget of 50. Remedy"),
        (Strata(0), 2, r"3 levels x 1 rows = 3, above the budget of 2"),
    ],
)
def test_minima_that_cannot_be_had_are_refused_with_the_arithmetic(strata, budget, arithmetic):
    with pytest.raises(ConfigurationError, match=f"selection.strata: {arithmetic}"):
        allocate(np.ones(3), np.array([900, 80, 20]), budget, strata, ("a", "b", "c"))


def rare_records() -> pa.Table:
    """1000 records, of which 20 have the level c of the first key."""
    table = binary_records(1000)
    keys = [[first, "x"] for first in np.random.default_rng(1).permutation(RARE)]
    return table.set_column(table.column_names.index("segments"), "segments", pa.array(keys))


def drawn_per_level(table: pa.Table, **arguments) -> dict[str, int]:
    drawn = draw(table, **arguments)["drawn"].to_numpy()
    level = np.array([keys[0] for keys in table["segments"].to_pylist()])
    return {name: int(drawn[level == name].sum()) for name in np.unique(level)}


@pytest.mark.parametrize("bits", [0, 3])
@pytest.mark.parametrize("design", DESIGNS)
def test_every_level_has_its_minimum_among_the_drawn_rows(design, bits, monkeypatch):
    monkeypatch.setattr(blocks, "block_bits", lambda count: bits)
    policy = policy_for(
        "obftf" if design == "mean-match" else "grad-norm",
        "binary",
        design=design,
        strata=Strata(0, min_count=15),
    )
    for seed in range(1, 11):
        found = drawn_per_level(rare_records(), policy=policy, budget=0.1, seed=seed)
        assert sum(found.values()) == 100
        assert min(found.values()) >= 15, found


@pytest.mark.parametrize("size", [49, 98, 103, 107, 161, 187, 196, 197, 206, 214])
@pytest.mark.parametrize("policy", ["grad-norm", "mixture", "balanced"])
def test_a_level_of_one_row_is_drawn_whatever_its_score(policy, size):
    """Of these numbers size x (1 / size) is not 1 in doubles."""
    assert size * (1 / size) < 1
    residual = np.concatenate([[float(size)], np.ones(49), np.zeros(48)])
    table = pa.table(
        {
            "instance_id": [f"r{number}" for number in range(98)],
            "prediction": residual,
            "label": np.zeros(98),
            "segments": [["rare"], *[["common"]] * 97],
        }
    )
    strata = policy_for(policy, "regression", strata=Strata(0, min_count=1))
    found = draw(table, policy=strata, budget="10 rows", task="regression")
    assert found["drawn"].to_pylist().count(True) == 10
    assert found["drawn"][0].as_py()


def test_law_3_probabilities_sum_to_the_budget_of_each_level():
    table = rare_records()
    for floor in (0.0, 0.2):
        policy = policy_for("grad-norm", "binary", floor=floor, strata=Strata(0, min_share=0.2))
        frame = draw(table, policy=policy, budget=0.1, seed=3).to_pandas()
        level = np.array([keys[0] for keys in table["segments"].to_pylist()])
        sums = frame.probability.groupby(level).sum()
        np.testing.assert_allclose(sums, [60, 20, 20], rtol=1e-9)
        np.testing.assert_allclose(frame.probability[level == "c"], 1.0, rtol=1e-12)
        chosen = frame[frame.drawn]
        np.testing.assert_allclose(chosen.weight, 0.1 / chosen.probability, rtol=1e-12)


def test_levels_without_a_shortage_keep_the_proportions_of_their_scores():
    table = rare_records()
    plain, strata = (
        draw(table, policy=policy_for("grad-norm", "binary", strata=s), budget=0.1).to_pandas()
        for s in (None, Strata(0, min_count=15))
    )
    of_a = np.array([keys[0] == "a" for keys in table["segments"].to_pylist()])
    ratio = (strata.probability / plain.probability)[of_a]
    np.testing.assert_allclose(ratio, ratio.iloc[0])


def test_a_level_of_ninety_percent_is_drawn_in_proportion():
    policy = policy_for("uniform", "binary", strata=Strata(0, min_count=2))
    found = drawn_per_level(rare_records(), policy=policy, budget=0.1, seed=1)
    assert found == {"a": 90, "b": 8, "c": 2}


@pytest.mark.parametrize("name", ["grad-norm", "calibrated", "balanced"])
def test_a_level_of_two_rows_without_a_minimum_keeps_its_probabilities_above_zero(name):
    keys = [[first] for first in ["a"] * 998 + ["b"] * 2]
    table = binary_records(1000).drop_columns(["segments"]).append_column("segments", [keys])
    policy = policy_for(name, "binary", strata=Strata(0))
    frame = draw(table, policy=policy, budget=0.1).to_pandas()
    assert frame.drawn.sum() == 100
    assert frame.drawn[998:].sum() == 1
    assert frame.probability[998:].sum() == pytest.approx(1)
    assert frame.probability.min() > 0


SOUND = ["uniform", "obftf-prox"]


@pytest.mark.parametrize("name", SOUND)
def test_unequal_probabilities_are_weighted_where_the_weighting_is_not_named(name):
    """A level of 2 % has a third of the budget: the label's share is that of all."""
    table = rare_records()
    policy = policy_for(name, "binary", strata=Strata(0, min_share=0.2))
    assert policy.weighting == "inverse"
    found = selection_of(table, policy=policy, budget=0.1, seed=3)
    frame = found.rows(False).to_pandas()
    assert frame.probability.max() / frame.probability.min() > 10
    chosen = frame[frame.drawn]
    np.testing.assert_allclose(chosen.weight, 0.1 / chosen.probability, rtol=1e-12)
    assert found.report["biased_by_design"] is None
    estimates = []
    for seed in range(1, 201):
        rows = draw(table, policy=policy, budget=0.1, seed=seed).to_pandas()
        estimates.append(rows.weight @ table["label"].to_numpy() / rows.weight.sum())
    error = np.std(estimates) / np.sqrt(200)
    assert np.mean(estimates) == pytest.approx(table["label"].to_numpy().mean(), abs=4 * error)


@pytest.mark.parametrize("changes", [{}, {"calibrated": True}])
@pytest.mark.parametrize("name", SOUND)
def test_weights_of_1_with_strata_are_refused_with_the_remedy(name, changes):
    message = r'weighting = .none.: strata make .*Remedy: write weighting = "inverse", or leave'
    with pytest.raises(ConfigurationError, match=message):
        policy_for(name, "binary", weighting="none", strata=Strata(0), **changes)
    with pytest.raises(ConfigurationError, match=message):
        draw(rare_records(), policy=replace(POLICIES[name], strata=Strata(0), **changes))


def test_a_calibrated_uniform_policy_with_strata_is_weighted_too():
    policy = policy_for("uniform", "binary", calibrated=True, strata=Strata(0, min_share=0.2))
    assert policy.weighting == "inverse"


def test_what_was_biased_by_design_stays_so_and_says_so():
    score = policy_for("uniform", "binary", score="loss", strata=Strata(0, min_count=2))
    assert score.weighting == "none"
    told = selection_of(rare_records(), policy=score, budget=0.1, seed=3).report
    assert told["biased_by_design"].startswith("Biased by design: rows are drawn with unequal")
    matched = policy_for("obftf", "binary", strata=Strata(0, min_count=2))
    told = selection_of(rare_records(), policy=matched, budget=0.1, seed=3).report
    assert told["biased_by_design"].startswith("Biased by design: mean-match chooses rows")


def test_strata_and_calibration_go_together():
    policy = policy_for("calibrated", "binary", strata=Strata(0, min_count=15))
    found = drawn_per_level(rare_records(), policy=policy, budget=0.1, seed=1)
    assert min(found.values()) >= 15


def test_records_without_the_segment_key_are_no_data():
    table = binary_records(100).drop_columns(["segments"])
    policy = policy_for("uniform", "binary", strata=Strata(0, min_count=2))
    with pytest.raises(NoDataError, match=r"no record has segment key 0. Remedy"):
        draw(table, policy=policy)


@pytest.mark.parametrize("name", ["local-case-control", "calibrated"])
def test_law_3_strata_decide_who_is_drawn_and_not_what_the_drawn_stand_for(name):
    """With an offset: the residuals at the records' own logits, by segment, over 300 draws.

    The rare segment is drawn from four times as often; weights of 1 would count it four times.
    """
    table = binary_records(1000)
    names = np.array(RARE)
    table = table.set_column(
        table.column_names.index("segments"), "segments", pa.array([[name] for name in names])
    )
    plain = policy_for(name, "binary", design="systematic", calibrated=False)
    guaranteed = replace(plain, strata=Strata(0, min_share=0.1))

    def totals(policy) -> np.ndarray:
        """Weighted residual by segment, of each draw, (300, 3)."""
        draws = []
        for seed in range(1, 301):
            rows = draw(table, policy=policy, budget=0.1, seed=seed, task="binary")
            weight, offset = rows["weight"].to_numpy(), rows["offset"].to_numpy()
            logit, label = table["prediction"].to_numpy(), table["label"].to_numpy()
            residual = weight * (1 / (1 + np.exp(-logit - offset)) - label)
            draws.append([residual[names == s].sum() for s in "abc"])
        return np.array(draws)

    flat, kept = totals(plain), totals(guaranteed)
    error = np.sqrt((flat.var(axis=0) + kept.var(axis=0)) / 300)
    assert (np.abs(flat.mean(axis=0) - kept.mean(axis=0)) < 4 * error).all()
    weights = draw(table, policy=guaranteed, budget=0.1, seed=1, task="binary")["weight"].to_numpy()
    assert weights[names == "c"].max() < 0.5


def test_an_offset_needs_probabilities_that_hang_on_the_label():
    for score in ("entropy", "one"):
        with pytest.raises(ConfigurationError, match=r"weighting = 'offset': .* Remedy"):
            policy_for("uncertainty", "binary", score=score, weighting="offset", strata=Strata(0))
