"""Calibrated weights reproduce the totals they claim to, or say which they miss."""

import numpy as np
import pytest

from spark_jobs.selection import calibration
from spark_jobs.selection import records as rec
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.engine import select
from spark_jobs.selection.policies import policy_for
from tests.logged_records import binary_records, multiclass_records, regression_records


def calibrated(table, seed=7):
    task = rec.infer_task(table)
    return select(ArrowBlocks(table, seed), policy_for("calibrated", task), 0.1, seed, task)


@pytest.mark.parametrize("make", [binary_records, regression_records, multiclass_records])
def test_law_3_calibrated_totals_are_met_and_their_gaps_reported(make):
    report = calibrated(make(5000)).report
    assert report["calibration"]["columns"] > 2
    # The default ridge trades the last bit of each total for smaller multipliers.
    assert report["calibration"]["largest_relative_gap"] < 0.01
    gaps = report["calibration"]["gaps"]
    assert set(gaps) >= {"one", report["calibration"]["largest_gap_column"]}


def test_calibration_brings_the_totals_closer_than_the_draw_alone():
    table = binary_records(5000)
    plain = select(ArrowBlocks(table, 7), policy_for("grad-norm", "binary"), 0.1, 7, "binary")
    residual_gap = abs(plain.report["residual_gap"])
    assert abs(calibrated(table).report["calibration"]["gaps"]["residual"]) < 0.1 * residual_gap


def test_the_gram_matrix_is_that_of_the_obvious_product():
    random = np.random.default_rng(1)
    rows, weight = random.normal(size=(200, 7)), random.random(200)
    np.testing.assert_allclose(
        calibration._gram(rows, weight), rows.T @ np.diag(weight) @ rows, rtol=1e-12
    )


def test_coefficients_solve_the_ridge_system():
    random = np.random.default_rng(2)
    a, weight = random.normal(size=(300, 5)), random.random(300) + 0.5
    drawn = random.random(300) < 0.3
    k = int(drawn.sum())
    share = np.full(300, 1 / 300)
    blocks = [
        calibration.block_totals(a[part], share[part], weight[part], drawn[part], outputs=1)
        for part in (slice(0, 100), slice(100, 300))
    ]
    ridge = 5 * (share * a[:, 1] ** 2).sum() / k
    gram = (a[drawn].T * weight[drawn]) @ a[drawn] / k + ridge * np.eye(5)
    gap = a.mean(axis=0) - (weight[drawn, None] * a[drawn]).sum(axis=0) / k
    np.testing.assert_allclose(calibration.solve(blocks, k), np.linalg.solve(gram, gap), rtol=1e-9)


def test_multipliers_stay_within_their_bounds():
    auxiliary = np.array([[1.0, 100.0], [1.0, -100.0], [1.0, 0.0]])
    np.testing.assert_array_equal(
        calibration.multipliers(auxiliary, np.array([0.0, 1.0])), [4.0, 0.1, 1.0]
    )


def test_constant_sketch_and_collinear_segments_behave():
    table = binary_records(2000)
    constant = table.set_column(
        table.column_names.index("sketch"), "sketch", [[[1.0, 1.0]] * table.num_rows]
    )
    report = calibrated(constant).report
    assert np.isfinite(report["max_weight"])


def test_offset_keeps_both_probabilities_and_tilts_back():
    """o = log pi(1)/pi(0): the label rate of the drawn rows is explained by the offset."""
    table = binary_records(20000)
    rows = calibrated(table).rows.to_pandas()
    drawn = rows[rows.drawn]
    expected = np.log(drawn.probability_positive / drawn.probability_negative)
    np.testing.assert_allclose(drawn.offset, expected, rtol=1e-12)
    own = np.where(rows.label == 1, rows.probability_positive, rows.probability_negative)
    np.testing.assert_allclose(rows.probability, own, rtol=1e-12)
