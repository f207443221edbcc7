"""`draw`: the selection without Spark."""

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from spark_jobs.selection import blocks, draw
from spark_jobs.selection.draw import selection_of
from tests.helpers.logged_records import binary_records, regression_records

COLUMNS = ["instance_id", "score", "probability", "drawn", "weight", "offset"]


def test_every_candidate_comes_back_in_the_order_given():
    records = binary_records(300)
    drawn = draw(records, seed=7)
    assert drawn.column_names == COLUMNS
    assert drawn["instance_id"].to_pylist() == records["instance_id"].to_pylist()
    assert drawn["drawn"].to_numpy().sum() == 30


@pytest.mark.parametrize("policy", ["calibrated", "balanced", "obftf", "max-loss", "infobatch"])
@pytest.mark.parametrize("make", [binary_records, regression_records])
def test_law_1_the_order_of_the_rows_does_not_matter(make, policy):
    """String ids and integer ids."""
    records = make(3000)
    mixed = records.take(pa.array(np.random.default_rng(1).permutation(3000)))
    found = [draw(one, policy=policy, seed=7).sort_by("instance_id") for one in (records, mixed)]
    assert found[0].equals(found[1])


def test_law_1_another_seed_draws_other_rows():
    records = binary_records(3000)
    assert draw(records, seed=7)["drawn"] != draw(records, seed=8)["drawn"]


def test_law_1_an_integer_id_is_drawn_alike_whatever_its_width():
    records = regression_records(500)
    narrow = records.set_column(0, "instance_id", records["instance_id"].cast(pa.int32()))
    assert draw(narrow, seed=7)["drawn"] == draw(records, seed=7)["drawn"]


def test_law_1_chunks_of_a_table_do_not_matter():
    records = binary_records(500)
    pieces = pa.concat_tables([records.slice(0, 123), records.slice(123)])
    assert draw(pieces, seed=7).equals(draw(records, seed=7))


def test_the_report_card_agrees_with_the_rows():
    records = binary_records(1000)
    found = selection_of(records, policy="grad-norm", budget=0.1, seed=7)
    rows, told = found.rows(False).to_pandas(), found.report
    assert told["candidates"] == 1000
    assert told["budget"] == told["drawn"] == rows.drawn.sum() == 100
    assert told["sum_probability"] == pytest.approx(rows.probability.sum())
    assert told["min_probability"] == rows.probability.min()
    assert told["max_weight"] == rows.weight.max()
    weight, loss = rows.weight[rows.drawn], rows.loss[rows.drawn]
    assert told["mean_weight"] == pytest.approx(weight.mean())
    assert told["effective_sample_size"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    assert told["mean_loss"] == pytest.approx(rows.loss.mean())
    assert told["mean_loss_drawn"] == pytest.approx(loss.mean())
    assert told["mean_loss_estimate"] == pytest.approx((weight @ loss) / weight.sum())
    assert sorted(rows.position[rows.drawn]) == list(range(100))
    assert (rows.position[~rows.drawn] == -1).all()


@pytest.mark.parametrize(
    ("unit", "within"), [(1e-6, 10), (1.0, 10), (60.0, 10), (1e6, 10), (1e28, 30)]
)
def test_the_unit_of_a_regression_does_not_matter(unit, within):
    """Squared losses in minutes, dollars or metres: ranks, and who is among the worst percent.

    Beyond 2^60 a bin is an octave wide.
    """
    records = regression_records(20_000)
    for name in ("prediction", "label"):
        at = records.column_names.index(name)
        records = records.set_column(at, name, pa.array(records[name].to_numpy() * unit))
    found = selection_of(records, policy="selective-backprop", budget=0.1, seed=7)
    assert found.report["top_loss_rows"] == pytest.approx(200, abs=within)
    # CDF^2, capped nowhere: the density of pi / max is that of u^2, of mean 1/3.
    pi = found.rows(False)["probability"].to_numpy()
    assert pi.mean() / pi.max() == pytest.approx(1 / 3, rel=0.02)


def test_the_drawn_rows_alone_are_those_of_all():
    found = selection_of(binary_records(1000), policy="calibrated", budget=0.1, seed=7)
    everything, drawn = found.rows(False), found.rows(True)
    assert everything.filter(everything["drawn"]).equals(drawn)


@pytest.mark.parametrize("policy", ["uniform", "grad-norm"])
def test_law_1_the_number_of_blocks_does_not_change_an_exact_draw(policy, monkeypatch):
    records = binary_records(3000)
    first = draw(records, policy=policy, seed=7)
    monkeypatch.setattr(blocks, "block_bits", lambda count: 3)
    again = draw(records, policy=policy, seed=7)
    assert again["drawn"] == first["drawn"]
    np.testing.assert_allclose(again["probability"], first["probability"], rtol=1e-12)


def test_one_row_of_a_million_of_which_one_has_nearly_the_whole_probability():
    """All others are predicted perfectly: sizes of 1e-6 of the mean, pi of 1e-12."""
    n = 1_000_000
    label = np.zeros(n)
    label[5] = 1.0
    table = pa.table({"instance_id": np.arange(n), "prediction": np.zeros(n), "label": label})
    frame = draw(table, policy="grad-norm", budget="1 rows", task="regression")
    assert np.flatnonzero(frame["drawn"].to_numpy()).tolist() == [5]


@pytest.mark.parametrize("budget", [0, -0.1, 1.5, float("nan")])
def test_a_budget_outside_its_range_is_refused(budget):
    with pytest.raises(ConfigurationError, match=r"above 0 and at most 1"):
        draw(binary_records(10), budget=budget)


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
