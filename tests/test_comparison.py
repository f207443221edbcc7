"""Comparing policies from records alone: one Newton step on a draw against the step on all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import ConfigurationError
from schemas.sections.budget import parse_budget
from spark_jobs import compare as job
from spark_jobs.compare import table
from spark_jobs.selection import comparison
from spark_jobs.selection.comparison import Draw, compare, excess_loss, features, newton_steps
from spark_jobs.selection.from_arrow import from_arrow
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.policy import Strata
from spark_jobs.selection.records import Records, reordered
from tests.helpers import small_warehouse as small
from tests.helpers.logged_records import binary_records, multiclass_records, regression_records

SEEDS = [1, 2, 3, 4, 5]


def everything(records: Records) -> Draw:
    n = records.size
    return Draw(np.ones(n, bool), np.ones(n), np.zeros(n))


@pytest.fixture(scope="module")
def binary() -> Records:
    return from_arrow(binary_records(20_000, sketch=8), 1)


def test_a_regression_step_is_that_of_least_squares(monkeypatch):
    monkeypatch.setattr(comparison, "_RIDGE", 0.0)
    records = from_arrow(regression_records(500), 1)
    z, _ = features(records, seed=1)
    step, curvature = newton_steps("regression", records, everything(records), z)
    expected, *_ = np.linalg.lstsq(z, records.label - records.prediction, rcond=None)
    np.testing.assert_allclose(step[0], expected, rtol=1e-9)
    np.testing.assert_allclose(curvature[0], z.T @ z / 500, atol=1e-12)


def test_a_binary_step_lowers_the_loss_as_a_newton_step_should(binary):
    z, _ = features(binary, seed=1)
    step, _ = newton_steps("binary", binary, everything(binary), z)
    sign = 2 * binary.label - 1
    before, after = (
        np.logaddexp(0, -sign * (binary.prediction + shift)).mean() for shift in (0, z @ step[0])
    )
    assert after < before


@pytest.mark.parametrize("make", [binary_records, multiclass_records, regression_records])
def test_drawing_everything_leaves_no_excess(make):
    records = from_arrow(make(1000), 1)
    task = {binary_records: "binary", multiclass_records: "multiclass"}.get(make, "regression")
    for z in features(records, seed=1):
        assert excess_loss(task, records, everything(records), z) == pytest.approx(0, abs=1e-18)


def test_a_step_that_differs_by_rounding_alone_leaves_none(binary):
    """Weights of a third are those of 1, but for the last bit."""
    alike = everything(binary)._replace(weight=np.full(binary.size, 1 / 3))
    assert [excess_loss("binary", binary, alike, z) for z in features(binary, 1)] == [0.0, 0.0]


def test_records_take_the_order_of_another_seed():
    table = binary_records(300)
    again, direct = reordered(from_arrow(table, 1), 2), from_arrow(table, 2)
    for name in ("hash", "prediction", "label", "segments", "sketch"):
        np.testing.assert_array_equal(getattr(again, name), getattr(direct, name), name)
    assert again.kept == direct.kept


def test_what_is_known_of_the_policies_is_what_the_comparison_finds(binary):
    """Calibrated is ahead of uniform, the largest losses ruin a model, a double budget halves."""
    names = ["uniform", "calibrated", "max-loss"]
    policies = {name: policy_for(name, "binary") for name in names}
    budgets = {text: parse_budget(text) for text in ("0.1", "0.2")}
    lines = {(x.policy, x.budget): x for x in compare(binary, "binary", policies, budgets, SEEDS)}
    uniform = lines["uniform", "0.1"]
    assert lines["calibrated", "0.1"].wider_loss < 0.7 * uniform.wider_loss
    assert lines["max-loss", "0.1"].wider_loss > 50 * uniform.wider_loss
    assert lines["max-loss", "0.1"].top_loss_kept == pytest.approx(1, abs=0.01)
    assert 0.25 < lines["uniform", "0.2"].wider_loss / uniform.wider_loss < 0.8
    assert uniform.rows == 2000
    assert uniform.effective_sample_size == 2000
    assert 0.8 < uniform.least_segment <= 1


def test_a_share_of_the_ids_draws_at_the_rate_of_all_and_tells_of_all(binary):
    """2,000 rows of 20,000 are a tenth; of a tenth of the ids, as many would be all."""
    policies = {"uniform": policy_for("uniform", "binary")}
    some = from_arrow(binary_records(2_000, sketch=8), 1)
    budgets = {text: parse_budget(text) for text in ("2000 rows", "0.1", "50000 rows")}
    rows, rate, all_of_it = compare(some, "binary", policies, budgets, SEEDS, share=0.1)
    assert (rows.rows, rate.rows, all_of_it.rows) == (2000, 2000, 20_000)
    assert rows.effective_sample_size == rate.effective_sample_size == pytest.approx(2000)
    assert rows.wider_loss == rate.wider_loss > 0.0
    assert all_of_it.wider_loss == 0.0


def test_minima_of_levels_are_in_proportion_too():
    """210 rows of a level of some 200, as 20 among a tenth of the ids say: chance, and no reason to
    refuse what all rows may allow."""
    levels = pa.array([["rare" if i < 20 else "common"] for i in range(2_000)])
    table = binary_records(2_000)
    table = table.set_column(table.column_names.index("segments"), "segments", levels)
    records, budgets = from_arrow(table, 1), {"0.2": parse_budget(0.2)}
    strata = Strata(0, min_count=210)
    policies = {"uniform": policy_for("uniform", "binary", strata=strata, weighting="inverse")}
    (line,) = compare(records, "binary", policies, budgets, [1], share=0.1)
    assert line.rows == 4000
    with pytest.raises(ConfigurationError, match="210 rows of 'rare' are wanted and 20 are there"):
        list(compare(records, "binary", policies, budgets, [1]))


def test_where_a_budget_covers_all_the_table_has_a_dash(binary):
    names = ("uniform", "max-loss")
    policies = {name: policy_for(name, "binary") for name in names}
    budgets = {"1": parse_budget(1)}
    lines = list(compare(binary, "binary", policies, budgets, [1]))
    assert {line.wider_loss for line in lines} == {0.0}
    for told in table(lines).splitlines()[1:3]:
        assert told.split()[3:6] == ["-", "-", "-"]
    some = {"sketch_loss": 0.5, "wider_loss": 2.0, "wider_range": (1.0, 4.0)}
    told = table([replace(line, **some) for line in lines]).splitlines()[1]
    assert told.split()[3:6] == ["1.00", "1.00", "0.50-2.00"]


@pytest.mark.usefixtures("spark")
def test_a_day_of_too_many_rows_is_judged_on_a_share_of_its_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 records and 60 labels where 60 rows are the most: half of the ids."""
    warehouse = small.filled(tmp_path)
    monkeypatch.setattr(job, "DRIVER_ROWS", 60)
    policies = {"uniform": policy_for("uniform", "binary")}
    budgets = {text: parse_budget(text) for text in ("20 rows", "1000 rows")}
    lines, counts = job.compare_day(warehouse, small.DAYS[-1], policies, budgets, 2)
    assert counts["share_of_ids"] == 0.5
    kept = counts["candidates"]
    assert 15 <= kept <= 45
    assert [line.rows for line in lines] == [20, 2 * kept]
    assert lines[0].effective_sample_size == 20
