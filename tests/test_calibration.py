"""Calibrated weights reproduce the totals they claim to, or say which they miss and by how much."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from spark_jobs.selection import blocks
from spark_jobs.selection.draw import selection_of
from spark_jobs.selection.from_arrow import from_arrow, infer_task
from spark_jobs.selection.policies import policy_for
from tests.helpers.dense import columns_of
from tests.helpers.logged_records import binary_records, multiclass_records, regression_records

TABLES = {
    "binary": binary_records(5000),
    "multiclass": multiclass_records(5000),
    "regression": regression_records(5000),
}
WIDE = (0.01, 100.0)
SEED = 7


class Calibrated(NamedTuple):
    """A calibrated draw, with the totals as anyone could compute them from its rows."""

    k: int
    target: dict[str, float]
    sample: dict[str, float]
    scale: dict[str, float]  # root mean square of each column among the drawn rows
    multiplier: np.ndarray
    drawn: Any  # the drawn rows
    told: dict[str, Any]  # of the report card


def calibrated(table: pa.Table, budget: Any = 0.1, **changes) -> Calibrated:
    task = infer_task(table)
    policy = policy_for("calibrated", task, **changes)
    found = selection_of(table, policy=policy, budget=budget, seed=SEED)
    rows, k = found.rows(False).to_pandas(), found.report["budget"]
    n, offset = len(rows), rows.offset.to_numpy()
    a = columns_of(from_arrow(table, SEED), task, offset)
    tilted = policy.weighting == "offset"
    share = rows.probability / k if tilted else np.full(n, 1 / n)
    base = np.ones(n) if policy.weighting != "inverse" else k / n / rows.probability
    chosen = rows.drawn.to_numpy()
    return Calibrated(
        k=k,
        target={name: float(share @ x) for name, x in a.items()},
        sample={name: float(rows.weight @ x) / k for name, x in a.items()},
        scale={name: float(np.sqrt((x[chosen] ** 2).mean())) for name, x in a.items()},
        multiplier=(rows.weight / base)[chosen].to_numpy(),
        drawn=rows[chosen],
        told=found.report["calibration"],
    )


def misses(found: Calibrated, tolerance: float) -> dict[str, float]:
    """The columns that are off by more than a share of their spread, and by how much."""
    gap = {
        name: abs(found.sample[name] - found.target[name]) / max(found.scale[name], 1e-12)
        for name in found.target
    }
    return {name: value for name, value in gap.items() if value > tolerance}


WEIGHTED = [(task, {}) for task in TABLES] + [
    ("binary", {"weighting": "inverse"}),
    ("binary", {"weighting": "none", "score": "one", "floor": 0.0}),
    ("binary", {"design": "cube", "weighting": "inverse"}),
    ("regression", {"score": "residual-norm", "floor": 0.2}),
]


@pytest.mark.parametrize(("task", "changes"), WEIGHTED)
def test_law_3_totals_are_exact_without_a_ridge(task, changes):
    found = calibrated(TABLES[task], ridge=0.0, bounds=WIDE, **changes)
    assert misses(found, 1e-6) == {}
    assert len(found.target) == found.told["columns"]


@pytest.mark.parametrize(("task", "changes"), WEIGHTED)
def test_law_3_the_default_ridge_misses_by_little_and_says_so(task, changes):
    found = calibrated(TABLES[task], **changes)
    assert misses(found, 0.01) == {}
    told = found.told["gaps"]
    assert set(told) == set(found.target)
    for name, gap in told.items():
        assert gap == pytest.approx(found.sample[name] - found.target[name], abs=1e-9), name


@pytest.mark.parametrize("bounds", [(0.1, 4.0), (0.9, 1.1), (0.99, 1.01), (1.0, 1.0)])
@pytest.mark.parametrize("task", list(TABLES))
def test_multipliers_stay_within_their_bounds(task, bounds):
    found = calibrated(TABLES[task], budget=0.02, ridge=0.0, bounds=bounds)
    assert found.multiplier.min() >= bounds[0] * (1 - 1e-12)
    assert found.multiplier.max() <= bounds[1] * (1 + 1e-12)


def test_bounds_in_the_way_leave_gaps_that_are_named():
    found = calibrated(TABLES["binary"], budget=0.02, ridge=0.0, bounds=(0.99, 1.01))
    worst = found.told["largest_gap_column"]
    assert misses(found, 1e-3)[worst] == max(misses(found, 1e-3).values())
    gap, scale = found.sample[worst] - found.target[worst], found.scale[worst]
    assert found.told["gaps"][worst] == pytest.approx(gap, abs=1e-9)
    assert found.told["largest_relative_gap"] == pytest.approx(abs(gap) / scale, rel=1e-6)


def test_calibration_comes_closer_than_the_draw_alone():
    found = calibrated(TABLES["binary"])
    residual = columns_of(from_arrow(TABLES["binary"], SEED), "binary")["residual"]
    plain = residual.std() / np.sqrt(found.k)
    assert abs(found.told["gaps"]["residual"]) < 0.1 * plain


def test_law_1_blocks_do_not_change_the_weights(monkeypatch):
    whole = calibrated(TABLES["binary"])
    monkeypatch.setattr(blocks, "block_bits", lambda count: 3)
    parts = calibrated(TABLES["binary"])
    assert parts.drawn.instance_id.tolist() == whole.drawn.instance_id.tolist()
    np.testing.assert_allclose(parts.multiplier, whole.multiplier, rtol=1e-9)


def with_sketch(table: pa.Table, sketch: np.ndarray) -> pa.Table:
    lists = pa.array(list(sketch.astype(np.float32)), pa.list_(pa.float32()))
    return table.drop_columns(["sketch"]).append_column("sketch", lists)


def with_segments(table: pa.Table, *keys: list[str]) -> pa.Table:
    rows = pa.array([list(one) for one in zip(*keys, strict=True)], pa.list_(pa.string()))
    return table.drop_columns(["segments"]).append_column("segments", rows)


@pytest.mark.parametrize("ridge", [0.0, 5.0])
@pytest.mark.parametrize("constant", [0.0, 1.0, 1e-20, 1e6])
def test_a_constant_sketch_is_another_intercept(constant, ridge):
    table = with_sketch(TABLES["binary"], np.full((5000, 2), constant))
    found = calibrated(table, ridge=ridge)
    assert np.isfinite(found.multiplier).all()
    assert misses(found, 0.01) == {}


@pytest.mark.parametrize("ridge", [0.0, 5.0])
def test_collinear_segments_are_met_together(ridge):
    """The same key twice; and by themselves the levels of a key add up to the residual."""
    first = [keys[0] for keys in TABLES["binary"]["segments"].to_pylist()]
    found = calibrated(with_segments(TABLES["binary"], first, first), ridge=ridge)
    assert misses(found, 0.01 if ridge else 1e-6) == {}


@pytest.mark.parametrize("ridge", [0.0, 5.0])
def test_a_segment_without_a_drawn_row_is_missed_and_named(ridge):
    key = ["only"] + ["rest"] * 4999
    table = with_segments(TABLES["binary"], key)
    found = calibrated(table, budget="50 rows", ridge=ridge)
    assert not (found.drawn.instance_id == "flight-0").any()
    assert np.isfinite(found.multiplier).all()
    name = "residual x segment0=only"
    assert found.sample[name] == 0
    assert found.told["gaps"][name] == pytest.approx(-found.target[name])
    others = {other: gap for other, gap in misses(found, 0.05).items() if other != name}
    assert others == {}


@pytest.mark.parametrize("ridge", [0.0, 5.0])
@pytest.mark.parametrize("k", [1, 5, 30])
def test_more_columns_than_drawn_rows(k, ridge):
    """60 levels: finite weights within bounds, and gaps that are true."""
    level = [f"level{i % 60}" for i in range(5000)]
    table = with_segments(TABLES["binary"], level)
    found = calibrated(table, budget=f"{k} rows", ridge=ridge)
    assert len(found.multiplier) == k < found.told["columns"]
    assert found.multiplier.min() >= 0.1
    assert found.multiplier.max() <= 4.0
    for name, gap in found.told["gaps"].items():
        assert gap == pytest.approx(found.sample[name] - found.target[name], abs=1e-9), name


def test_segments_above_500_columns_are_left_out_and_named():
    many = [f"flight{i % 600}" for i in range(5000)]
    few = [f"level{i % 3}" for i in range(5000)]
    found = selection_of(
        with_segments(TABLES["binary"], few, many), policy="calibrated", budget=0.1, seed=SEED
    )
    told = found.report["calibration"]
    assert told["left_out"] == ["segment1"]
    assert {"residual x segment0=level0", "residual x sketch3"} <= set(told["gaps"])
    assert told["columns"] == 1 + 1 + 1 + 3 + 4


def test_no_segments_and_no_sketch():
    table = TABLES["binary"].drop_columns(["segments", "sketch"])
    found = calibrated(table, ridge=0.0)
    assert list(found.target) == ["one", "residual", "residual x prediction"]
    assert misses(found, 1e-6) == {}


def test_perfect_predictions_have_nothing_to_be_calibrated_on():
    """Every residual is 0, every column but the first."""
    n = 500
    value = np.random.default_rng(1).normal(size=n)
    table = pa.table({"instance_id": np.arange(n), "prediction": value, "label": value})
    found = calibrated(table)
    np.testing.assert_allclose(found.multiplier, 1.0)


def test_everything_drawn_needs_no_moving():
    for task, table in TABLES.items():
        found = calibrated(table.slice(0, 500), budget=1.0)
        np.testing.assert_allclose(found.multiplier, 1.0, rtol=1e-6, err_msg=task)
