"""The study's closed loops: what they spend, what they read, and how they go on after a kill."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks.study import __main__ as study
from benchmarks.study import store
from benchmarks.study.arms import policy_arms, reference_arms, variants
from benchmarks.study.equal import equal_amount
from benchmarks.study.loop import Settings, closed_loop, first_model, places_of
from benchmarks.study.order import dealt
from benchmarks.study.parts import STEPPED
from benchmarks.study.readings import judged
from benchmarks.study.run import FIRST, arms_of
from benchmarks.study.streams.images import digits
from schemas.pipeline import load_pipeline
from trainer.data.reader import Rows

SETTINGS = Settings(batch_size=16, learning_rate=0.003, window_days=4)


@pytest.fixture(scope="module")
def loops():
    """Five refreshes of each arm on the digits: 100 forward passes each."""
    stream = digits(Path())
    places, days = places_of(stream), stream.days[:5]
    first = first_model(stream, places, days, 0)
    every = [*reference_arms(), *policy_arms("multiclass"), *variants("multiclass")]
    arms = {arm.name: arm for arm in every}
    names = ("frozen", "all", "uniform", "calibrated", "calibrated, half twice")
    return {
        name: list(
            closed_loop(
                stream, places, arms[name], arms[name].amount(0.11), SETTINGS, first, days, 0
            )
        )
        for name in names
    }


@pytest.mark.parametrize(
    ("arm", "spent"),
    [
        ("frozen", [0, 0, 0, 0, 0]),
        ("all", [100, 100, 100, 100, 100]),
        ("uniform", [11, 11, 11, 11, 11]),
        ("calibrated", [11, 11, 11, 11, 11]),
        ("calibrated, half twice", [10, 12, 10, 12, 10]),  # what is below a row is carried
    ],
)
def test_an_arm_spends_its_amount_and_no_more(loops, arm, spent):
    assert [one.forward_passes for one in loops[arm]] == [100] * 5
    assert [one.backward_passes for one in loops[arm]] == spent


def test_all_arms_begin_with_the_same_model_and_are_judged_on_the_same_rows(loops):
    rows = {tuple(one.answers.rows for one in found) for found in loops.values()}
    assert rows == {(100,) * 5}
    losses = {name: found[-1].answers.loss for name, found in loops.items()}
    assert losses["all"] < min(losses["calibrated"], losses["uniform"]) < losses["frozen"]


def test_a_loop_is_a_function_of_its_seed(loops):
    stream = digits(Path())
    places, days = places_of(stream), stream.days[:5]
    arm = next(one for one in policy_arms("multiclass") if one.name == "calibrated")
    first = first_model(stream, places, days, 0)
    again = closed_loop(stream, places, arm, 0.11, SETTINGS, first, days, 0)
    other = closed_loop(stream, places, arm, 0.11, SETTINGS, first, days, 1)
    expected = [one.answers for one in loops["calibrated"]]
    np.testing.assert_equal([one.answers for one in again], expected)
    assert [one.answers.loss for one in other] != [one.loss for one in expected]


def test_a_dealt_epoch_gives_every_batch_a_row_of_every_stratum():
    key = np.random.default_rng(1).normal(size=70)
    order = dealt(key, 16, seed=3, epoch=0)
    assert sorted(order) == list(range(70))
    whole = order[:64].reshape(4, 16)  # and a batch of the six that are left
    rank = np.argsort(np.argsort(key[order[:64]])).reshape(4, 16)
    for batch in rank // 4:  # strata of as many rows as there are batches
        assert sorted(batch) == list(range(16))
    assert (np.diff(np.sort(np.argsort(np.argsort(key))[order[64:]])) >= 11).all()
    assert (np.diff(key[whole[0]]) < 0).any()  # in no order within
    np.testing.assert_array_equal(dealt(key, 16, seed=3, epoch=0), order)
    assert (dealt(key, 16, seed=3, epoch=1) != order).any()
    assert (dealt(key, 16, seed=4, epoch=0) != order).any()


def test_read_outs_are_what_counting_gives():
    """A model that answers its own number, on rows of two segments."""
    random = np.random.default_rng(2)
    logit = random.normal(size=(200, 1)).astype(np.float32)
    label = (random.random(200) < 0.4).astype(np.float32)
    ones = np.ones(200, np.float32)
    rows = Rows((np.zeros((200, 0), np.int64), logit), label, ones, 0 * ones)
    segment = np.where(np.arange(200) < 195, 0, 1)  # the second has less than 5 %
    pipeline = load_pipeline("pipelines/flights.toml")

    def model(categories, numbers):
        return numbers, numbers

    found = judged(model, pipeline, rows, segment)
    p = 1 / (1 + np.exp(-logit[:, 0].astype(np.float64)))
    losses = -np.where(label > 0, np.log(p), np.log1p(-p))
    pairs = list(product(p[label > 0], p[label == 0]))
    assert found.rows == 200
    assert found.loss == pytest.approx(losses.mean(), abs=1e-6)
    assert found.auc == pytest.approx(np.mean([a > b for a, b in pairs]))
    assert (found.observed, found.predicted) == pytest.approx((label.mean(), p.mean()))
    assert found.worst_segment == pytest.approx(losses[:195].mean(), abs=1e-6)


@pytest.mark.parametrize(("data", "judged"), [("digits", "calibrated"), ("letters", STEPPED)])
def test_equal_seconds_pay_for_rows_at_what_another_row_costs(data, judged):
    """Uniform takes 1 s and 0.01 s a row; the default takes 1.5 s more for the same rows."""

    def lines(arm, amount, rows, seconds):
        passes = {"forward_passes": "1000", "backward_passes": str(rows)}
        took = {"select_seconds": "0.5", "fit_seconds": str(seconds - 0.5)}
        outlier = {"select_seconds": "0.5", "fit_seconds": "90"}  # something else was running
        cell = {"data": data, "arm": arm, "amount": str(amount)}
        return [cell | passes | one for one in (took, took, outlier)]

    found = [
        *lines("uniform", 0.1, 100, 2.0),
        *lines("uniform", 0.25, 250, 3.5),
        *lines(judged, 0.1, 100, 3.5),
        *lines(judged, 0.25, 250, 9.0),
    ]
    assert equal_amount(found, data) == pytest.approx(0.25)


def test_the_second_confirmation_has_the_arms_that_it_asks_about_and_no_other():
    stream = digits(Path())
    assert set(arms_of(stream, "second")) == set(FIRST)
    assert {*arms_of(stream, "confirmation")} > {"obftf", "grad-norm"}


@pytest.mark.slow
@pytest.mark.nightly
def test_the_small_study_goes_on_where_it_was_and_prints_its_table(tmp_path, capfd):
    line = ["--folder", str(tmp_path), "--seeds", "2", "--arms"]
    study.main([*line, "frozen", "uniform"])
    before = store.read(tmp_path / store.RESULTS)
    study.main([*line, "frozen", "uniform", "all"])
    after = store.read(tmp_path / store.RESULTS)
    told = capfd.readouterr()
    assert "1 cells to run, 2 there" in told.err
    assert [one for one in after if one["arm"] != "all"] == before
    assert {one["arm"] for one in after} == {"frozen", "uniform", "all"}
    chosen = [one for one in store.read(tmp_path / store.TUNING) if one["chosen"]]
    assert [one["arm"] for one in chosen] == ["all", "all", "uniform", "uniform"]  # two seeds each
    assert "| arm | digits<br>2 seeds, 10 refreshes |" in told.out
    assert "\n| all | loss 0." in told.out or "\n| all | loss 1." in told.out
