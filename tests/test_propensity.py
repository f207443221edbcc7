"""Law 3 where records were themselves chosen: weights undo the chance of that as well."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from schemas.errors import DataQualityError
from spark_jobs.blocks.shards import pack, unpack
from spark_jobs.selection.draw import draw, selection_of
from spark_jobs.selection.from_arrow import from_arrow
from spark_jobs.selection.policies import policy_for
from tests.helpers.logged_records import binary_records

N = 3000
WHOLE = binary_records(N)
LOGIT, LABEL = WHOLE["prediction"].to_numpy(), WHOLE["label"].to_numpy()
LOSS = np.logaddexp(0, LOGIT) - LABEL * LOGIT
# Unsure rows were asked for their label more often: the others are under-represented.
CHANCE = np.clip(1.5 / (1 + np.exp(-LOGIT)), 0.1, 1.0)


def asked(seed: int) -> pa.Table:
    """The rows whose label was asked for, with the chance of that."""
    mask = np.random.default_rng(seed).random(N) < CHANCE
    return WHOLE.append_column("propensity", pa.array(CHANCE)).filter(pa.array(mask))


def expanded(rows: pa.Table, name: str) -> float:
    """The estimate of the mean of all N that the drawn rows' weights make."""
    weight, value = rows["weight"].to_numpy(), rows[name].to_numpy()
    return float(weight @ value / weight.sum())


@pytest.mark.parametrize("policy", ["grad-norm", "uniform", "infobatch", "balanced"])
def test_law_3_the_drawn_rows_stand_for_all_that_could_have_been_asked(policy: str) -> None:
    """100 times asked and drawn: the mean loss within 4 standard errors; without it, far off."""
    found, ignored = [], []
    for seed in range(1, 101):
        table = asked(seed)
        for part, into in ((table, found), (table.drop_columns(["propensity"]), ignored)):
            rows = selection_of(part, policy=policy, budget=0.2, seed=seed, task="binary")
            into.append(expanded(rows.rows(True), "loss"))
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(LOSS.mean(), abs=4 * error + 0.002)
    assert abs(np.mean(ignored) - LOSS.mean()) > 10 * error


@pytest.mark.parametrize("weighting", ["inverse", "offset"])
def test_calibrated_totals_are_those_of_all_that_could_have_been_asked(weighting: str) -> None:
    policy = policy_for("calibrated", "binary", weighting=weighting, ridge=0.0)
    table = asked(5)
    selection = selection_of(table, policy=policy, budget=0.2, seed=5, task="binary")
    assert selection.report["calibration"]["largest_relative_gap"] < 1e-9
    if weighting == "inverse":  # an offset's totals are those of the tilted rows
        rows, stands_for = selection.rows(True), 1 / table["propensity"].to_numpy()
        kept = table.filter(pc.is_in(table["instance_id"], value_set=rows["instance_id"]))
        kept = kept.take(pc.index_in(rows["instance_id"], value_set=kept["instance_id"]))
        wanted = stands_for @ residual(table) / stands_for.sum()
        weight = rows["weight"].to_numpy()
        assert weight @ residual(kept) / weight.sum() == pytest.approx(wanted, abs=1e-9)
        assert abs(selection.report["residual_gap"]) < 1e-9


def residual(table: pa.Table) -> np.ndarray:
    return 1 / (1 + np.exp(-table["prediction"].to_numpy())) - table["label"].to_numpy()


def test_the_report_compares_with_all_that_the_rows_stand_for() -> None:
    table = asked(3)
    report = selection_of(table, policy="grad-norm", budget=0.2, seed=3, task="binary").report
    stands_for = 1 / table["propensity"].to_numpy()
    logit, label = table["prediction"].to_numpy(), table["label"].to_numpy()
    loss = np.logaddexp(0, logit) - label * logit
    assert report["mean_loss"] == pytest.approx(stands_for @ loss / stands_for.sum())
    assert report["mean_weight"] == pytest.approx(1.0, abs=0.1)


def test_equal_chances_change_nothing() -> None:
    """Whatever they are: the mean of the weights is 1."""
    half = WHOLE.append_column("propensity", pa.array(np.full(N, 0.5)))
    for policy in ("calibrated", "grad-norm"):
        alone, chosen = (draw(table, policy=policy, budget=0.1, seed=2) for table in (WHOLE, half))
        assert alone["drawn"].equals(chosen["drawn"])
        np.testing.assert_allclose(alone["weight"].to_numpy(), chosen["weight"].to_numpy())


def test_no_chance_and_a_chance_of_one_are_the_same_sample() -> None:
    ones = WHOLE.append_column("propensity", pa.array([None, *[1.0] * (N - 1)]))
    digests = {
        selection_of(table, policy="calibrated", budget=0.1, seed=2, task="binary").digest
        for table in (WHOLE, ones)
    }
    assert len(digests) == 1


def test_shards_carry_the_chances() -> None:
    records = from_arrow(asked(1), seed=1)
    shard = pack(records)
    again = unpack(pa.py_buffer(shard.core), None, None)
    assert again.propensity.tolist() == records.propensity.tolist()
    plain = unpack(pa.py_buffer(pack(from_arrow(WHOLE, seed=1)).core), None, None)
    assert plain.propensity.tolist() == [1.0] * N


@pytest.mark.parametrize("value", [0.0, 1.5, -0.1])
def test_a_chance_that_is_none_is_refused(value: float) -> None:
    table = WHOLE.append_column("propensity", pa.array([value, *[0.5] * (N - 1)]))
    with pytest.raises(DataQualityError, match=r"propensity is not from 1e-09 to 1 in 1 of"):
        draw(table, policy="uniform", budget=0.1)
