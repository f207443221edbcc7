"""The kernels of calibration against dense matrices, and its solution against SciPy."""

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import ConfigurationError
from spark_jobs.selection import calibration
from spark_jobs.selection.from_arrow import from_arrow
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.records import Records
from tests.helpers.dense import by_scipy, columns_of, problem, solved, truncated
from tests.helpers.logged_records import binary_records, multiclass_records, regression_records

N = 300
BOUNDS = (0.1, 4.0)
TABLES = {
    "binary": binary_records(N),
    "multiclass": multiclass_records(N),
    "regression": regression_records(N),
}


def layout(records: Records) -> tuple[int, int]:
    outputs = 1 if records.prediction.ndim == 1 else records.prediction.shape[1]
    return outputs, records.sketch.shape[1]


def auxiliary(records: Records, task: str) -> calibration.Auxiliary:
    flat = records.prediction if records.prediction.ndim == 1 else np.zeros(records.size)
    moments = {
        "count": records.size,
        "prediction": flat.sum(),
        "prediction_square": (flat**2).sum(),
    }
    return calibration.auxiliary(task, moments, records.vocabulary.levels, layout(records))


@pytest.fixture(params=list(TABLES))
def case(request):
    """Records of each task, as factors and as a matrix."""
    task, random = request.param, np.random.default_rng(2)
    records = from_arrow(TABLES[task], 7)
    offset = random.normal(size=N) if task == "binary" else np.zeros(N)
    columns = auxiliary(records, task)
    dense = columns_of(records, task, offset)
    rows = calibration.factors(records, offset, columns)
    return columns, rows, dense, np.stack([*dense.values()], axis=1)


def test_the_columns_have_the_names_and_number_of_the_dense_ones(case):
    columns, _, dense, a = case
    assert columns.names == list(dense)
    assert columns.columns == a.shape[1]


def test_targets_are_the_dense_product(case):
    columns, rows, dense, a = case
    share = np.random.default_rng(3).random(N)
    found = calibration.targets(rows, share, columns)
    np.testing.assert_allclose(found["target"], share @ a, rtol=1e-10, atol=1e-10)
    residuals = [value for name, value in dense.items() if " x " not in name and name != "one"]
    expected = share @ sum(value**2 for value in residuals)
    np.testing.assert_allclose(found["square"], expected, rtol=1e-12)


@pytest.mark.parametrize("size", [0.0, 0.1, 1.0])
def test_multipliers_and_sums_are_the_dense_products(case, size):
    _, rows, _, a = case
    random = np.random.default_rng(4)
    q, weight = size * random.normal(size=a.shape[1]), random.random(N) + 0.5
    factor = truncated(a, q, BOUNDS)
    inside = (factor > BOUNDS[0]) & (factor < BOUNDS[1])
    assert inside.any()
    np.testing.assert_allclose(calibration.multipliers(rows, q, BOUNDS), factor, rtol=1e-10)
    found = calibration.sums(calibration.DrawnRows(rows, weight, {}), q, BOUNDS)
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(found["total"], (weight * factor) @ a, **close)
    np.testing.assert_allclose(found["scale"], weight @ a**2, **close)
    np.testing.assert_allclose(found["gram"], (a.T * (weight * inside)) @ a, **close)


def test_a_label_that_has_not_matured_leaves_no_residual():
    table = TABLES["binary"]
    label = pa.array(table["label"].to_numpy(), mask=np.arange(N) < 100)
    late = table.set_column(table.column_names.index("label"), "label", label)
    records = from_arrow(late, 7)
    rows = calibration.factors(records, np.zeros(N), auxiliary(records, "binary"))
    assert (rows.residual[~records.matured] == 0).all()
    assert (rows.residual[records.matured] != 0).all()


@pytest.mark.parametrize("ridge", [0.0, 0.1, 5.0])
@pytest.mark.parametrize(
    ("bounds", "shift"), [((0.1, 4.0), 0.05), ((0.1, 4.0), 0.2), ((0.6, 1.6), 0.1)]
)
def test_the_solution_is_that_of_scipy(bounds, shift, ridge):
    policy = Policy("p", ridge=ridge, bounds=bounds)
    for seed in range(10):
        a, weight, target = problem(seed, shift=shift)
        found = solved(a, weight, target, policy, 200)
        q = by_scipy(a, weight, target, ridge / 200, bounds, 200)
        fast, slow = (truncated(a, one, bounds) for one in (found.coefficients, q))
        np.testing.assert_allclose(fast, slow, atol=1e-5)
        np.testing.assert_allclose(found.gap, (weight * fast) @ a / 200 - target, atol=1e-12)


def test_many_rows_at_their_bounds_do_not_stop_the_search():
    """60 rows, 20 columns, most multipliers at 0.1 or 4: the equation is met all the same."""
    policy = Policy("p", ridge=0.5)
    for seed in range(25):
        a, weight, target = problem(seed, k=60, p=20, shift=0.15)
        q = solved(a, weight, target, policy, 60).coefficients
        scale = np.sqrt(weight @ a**2 / 60)
        left = (weight * truncated(a, q, BOUNDS)) @ a / 60 + 0.5 / 60 * q - target
        assert np.abs(left / scale).max() < 1e-8, seed


def test_without_bounds_in_the_way_the_solution_is_linear_algebra():
    a, weight, target = problem(1, shift=0.02)
    found = solved(a, weight, target, Policy("p", ridge=5.0), 200, square=2.0)
    gram = (a.T * weight) @ a / 200 + 5.0 * 2.0 / 200 * np.eye(8)
    expected = np.linalg.solve(gram, target - weight @ a / 200)
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-8)
    assert found.steps == 1


def test_collinear_columns_share_the_smallest_solution():
    """A column that is there twice, one that is zero: as if it were there once."""
    a, weight, target = problem(1)
    double = np.column_stack([a, a[:, 3], np.zeros(200)])
    policy = Policy("p", ridge=0.0)
    once = solved(a, weight, target, policy, 200)
    twice = solved(double, weight, np.r_[target, target[3], 0.0], policy, 200)
    np.testing.assert_allclose(
        truncated(double, twice.coefficients, BOUNDS), truncated(a, once.coefficients, BOUNDS)
    )
    np.testing.assert_allclose(twice.coefficients[3], twice.coefficients[8])
    assert twice.coefficients[9] == 0
    np.testing.assert_allclose(twice.gap, 0, atol=1e-8)


def test_totals_out_of_reach_leave_gaps_that_are_reported():
    """Multipliers within 0.5 to 2 cannot move a mean by three spreads."""
    a, weight, target = problem(1)
    target[4] += 3 * a[:, 4].std()
    for ridge in (0.0, 5.0):
        found = solved(a, weight, target, Policy("p", ridge=ridge, bounds=(0.5, 2.0)), 200)
        factor = truncated(a, found.coefficients, (0.5, 2.0))
        assert np.isfinite(found.coefficients).all()
        assert found.gap[4] < -a[:, 4].std()
        np.testing.assert_allclose(found.gap, (weight * factor) @ a / 200 - target, atol=1e-12)


@pytest.mark.parametrize(
    ("levels", "outputs", "sketch", "left_out", "columns"),
    [
        ((3, 4), 1, 4, (), 1 + 1 + 1 + 7 + 4),
        ((3, 4), 4, 2, (), 1 + 4 * (1 + 7 + 2)),
        ((400, 99), 1, 0, ("segment1",), 1 + 2 + 400),
        ((400, 97), 1, 0, (), 500),
        ((600, 3), 1, 4, ("segment0", "segment1"), 1 + 2 + 4),
        ((30, 30), 16, 0, ("segment1",), 1 + 16 * 31),
        ((3,), 16, 16, (), 1 + 16 * 20),
    ],
)
def test_segment_keys_above_500_columns_are_left_out_the_last_first(
    levels, outputs, sketch, left_out, columns
):
    moments = {"count": 10.0, "prediction": 5.0, "prediction_square": 10.0}
    names = tuple(tuple(map(str, range(count))) for count in levels)
    task = "binary" if outputs == 1 else "multiclass"
    found = calibration.auxiliary(task, moments, names, (outputs, sketch))
    assert found.left_out == left_out
    assert found.columns == columns == len(found.names)


@pytest.mark.parametrize(
    ("outputs", "rows", "left_out", "columns"),
    [
        (10, 4 * 171, (), 1 + 10 * (1 + 16)),  # four rows a column
        (10, 4 * 171 - 1, ("sketch",), 1 + 10),
        (1, 10, (), 1 + 2 + 16),  # of one residual the sketch stays
    ],
)
def test_the_sketch_of_several_classes_needs_four_rows_a_column(outputs, rows, left_out, columns):
    moments = {"count": 10.0, "prediction": 5.0, "prediction_square": 10.0}
    task = "binary" if outputs == 1 else "multiclass"
    found = calibration.auxiliary(task, moments, (), (outputs, 16), rows)
    assert found.left_out == left_out
    assert found.columns == columns == len(found.names)


def test_a_sketch_that_is_too_wide_is_refused():
    moments = {"count": 10.0, "prediction": 5.0, "prediction_square": 10.0}
    with pytest.raises(ConfigurationError, match=r"16 outputs x \(1 \+ 40 numbers\).*Remedy"):
        calibration.auxiliary("multiclass", moments, (), (16, 40))
