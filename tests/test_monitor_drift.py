"""Drift of a day against the days before it: nothing where nothing moved, known values else."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from spark_jobs.monitoring import moved
from spark_jobs.monitoring.figures import SUMS
from spark_jobs.monitoring.levels import level_rows
from spark_jobs.selection.drift import FEWEST

DAY = date(2026, 3, 1)


def test_predictions_of_one_distribution_give_what_chance_gives():
    random = np.random.default_rng(1)
    index = []
    for _ in range(200):
        before, now = (
            np.bincount(random.integers(0, 400, n), minlength=400) for n in (20_000, 2_000)
        )
        index.append(moved.predictions(before, now))
    # As tests/test_drift.py: the mean of a chi-square with 9 degrees of freedom in these units.
    assert np.mean(index) == pytest.approx(9 / 2_000 + 9 / 20_000, rel=0.15)


def test_predictions_that_moved_give_the_sum_over_tenths():
    before, now = np.full(10, 1000), np.full(10, 1000)
    now[0], now[9] = 500, 1500
    wanted = -0.05 * np.log(0.05 / 0.1) + 0.05 * np.log(0.15 / 0.1)
    assert moved.predictions(before, now) == pytest.approx(wanted, rel=0.01)


def test_segments_give_the_sum_over_levels_and_a_new_level_is_finite():
    found = moved.segments(np.array([5000, 5000]), np.array([2500, 7500]))
    assert found == pytest.approx(0.5 * np.log(3) / 2, rel=0.01)
    assert 0 < moved.segments(np.array([1000, 0]), np.array([900, 100])) < 1


def test_a_sketch_moves_by_means_in_units_of_its_spread():
    random = np.random.default_rng(2)
    before, now = random.normal(0, 2, (5000, 3)), random.normal([0, 1, 0], 2, (4000, 3))
    before[:, 2] = now[:, 2] = 7.0  # does not vary

    def sums(rows: np.ndarray) -> np.ndarray:
        return np.stack([np.full(3, len(rows)), rows.sum(axis=0), (rows**2).sum(axis=0)])

    assert moved.sketch(sums(before), sums(now)) == pytest.approx([0, 0.5, 0], abs=0.05)


def test_few_rows_tell_nothing():
    few, many = np.array([FEWEST - 1]), np.array([10 * FEWEST])
    for index in (moved.predictions, moved.segments):
        assert index(few, many) is index(many, few) is None
        assert index(many, many) == 0
    assert moved.sketch(np.full((3, 2), FEWEST - 1.0), np.full((3, 2), 9999.0)) is None


def test_the_reference_is_the_28_days_before_each_day_and_every_version():
    """A day is like the 28 before it, and the one before these, which is not, does not count."""
    rows = [(DAY - timedelta(days=29), "1", 7, 900.0)]
    rows += [(DAY - timedelta(days=back), str(back % 2), 1, 100.0) for back in range(1, 29)]
    rows += [(DAY, "3", 1, 800.0), (DAY + timedelta(days=1), "3", 7, 800.0)]
    columns = {
        name: [row[place] for row in rows]
        for place, name in enumerate(("event_date", "model_version", "bin", "records"))
    }
    nothing = {name: [0.0] * len(rows) for name in SUMS if name != "records"}
    where = {name: ["all"] * len(rows) for name in ("segment", "level")}
    table = pa.table(columns | nothing | where)
    found = {row["event_date"]: row for row in level_rows(table, "binary", 0.95, DAY).to_pylist()}
    assert found[DAY]["prediction_drift"] == 0
    assert found[DAY + timedelta(days=1)]["prediction_drift"] == 0  # one bin cannot move
    assert found[DAY - timedelta(days=1)]["prediction_drift"] is None  # of the reference itself
