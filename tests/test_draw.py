"""`draw`: the selection without Spark."""

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from spark_jobs.selection import blocks, draw
from spark_jobs.selection.policies import POLICIES
from tests.logged_records import binary_records, multiclass_records, regression_records

TABLES = {
    "binary": binary_records,
    "regression": regression_records,
    "multiclass": multiclass_records,
}


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("task", list(TABLES))
def test_every_policy_draws_its_budget_of_every_task(policy, task):
    records = TABLES[task](1000)
    drawn = draw(records, policy=policy, budget=0.1, seed=7)
    assert drawn.column_names == [
        "instance_id", "score", "probability", "drawn", "weight", "offset",
    ]  # fmt: skip
    assert drawn["instance_id"].to_pylist() == records["instance_id"].to_pylist()
    frame = drawn.to_pandas()
    assert frame.drawn.sum() == 100
    assert frame.probability.sum() == pytest.approx(100, rel=1e-9)
    assert (frame.weight[~frame.drawn] == 0).all()
    assert (frame.weight[frame.drawn] > 0).all()
    assert frame.weight[frame.drawn].mean() == pytest.approx(1, rel=0.3)


def test_law_1_the_same_records_and_seed_give_the_same_sample_in_any_order():
    records = binary_records(3000)
    first = draw(records, seed=7)
    shuffled = records.take(pa.array(np.random.default_rng(1).permutation(3000)))
    again = draw(shuffled, seed=7).sort_by("instance_id")
    assert again.equals(first.sort_by("instance_id"))
    other = draw(records, seed=8)
    assert other["drawn"] != first["drawn"]


@pytest.mark.parametrize("policy", ["uniform", "grad-norm"])
def test_law_1_the_number_of_blocks_does_not_change_an_exact_draw(policy, monkeypatch):
    records = binary_records(3000)
    first = draw(records, policy=policy, seed=7)
    monkeypatch.setattr(blocks, "block_bits", lambda count: 3)
    again = draw(records, policy=policy, seed=7)
    assert again["drawn"] == first["drawn"]
    np.testing.assert_allclose(again["probability"], first["probability"], rtol=1e-12)


def test_weights_of_grad_norm_are_inverse_to_the_probabilities():
    frame = draw(binary_records(1000), policy="grad-norm", budget=0.1).to_pandas()
    chosen = frame[frame.drawn]
    np.testing.assert_allclose(chosen.weight, 0.1 / chosen.probability, rtol=1e-12)


@pytest.mark.parametrize("budget", [0.001, 1.0])
def test_the_smallest_and_the_largest_budget(budget):
    frame = draw(binary_records(1000), budget=budget).to_pandas()
    assert frame.drawn.sum() == 1000 * budget


def test_equal_losses_and_perfect_predictions_behave():
    n = 500
    records = pa.table(
        {"instance_id": np.arange(n), "prediction": np.full(n, 2.0), "label": np.full(n, 2.0)}
    )
    for policy in POLICIES:
        assert draw(records, policy=policy, budget=0.1).to_pandas().drawn.sum() == 50


@pytest.mark.parametrize("budget", [0, -0.1, 1.5, float("nan")])
def test_a_budget_outside_its_range_is_refused(budget):
    with pytest.raises(ConfigurationError, match=r"above 0 and at most 1"):
        draw(binary_records(10), budget=budget)


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"'best'.*uniform, obftf, grad-norm, calibrated"):
        draw(binary_records(10), policy="best")


def test_no_records_are_no_data():
    with pytest.raises(NoDataError, match="no candidates"):
        draw(binary_records(10).slice(0, 0))


def test_a_label_column_that_is_not_there_is_named():
    with pytest.raises(ConfigurationError, match="label"):
        draw(binary_records(10).drop_columns(["label"]))


def test_an_instance_that_occurs_twice_is_refused():
    records = binary_records(10)
    with pytest.raises(DataQualityError, match="occurs twice"):
        draw(pa.concat_tables([records, records]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_a_prediction_that_is_not_a_number_is_refused(bad):
    records = binary_records(3).set_column(1, "prediction", pa.array([0.1, bad, 0.2]))
    with pytest.raises(DataQualityError, match="flight-1"):
        draw(records)
