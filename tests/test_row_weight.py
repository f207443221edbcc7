"""A row's own weight: the drawn rows estimate what the weighted candidates say, by any policy."""

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from schemas.errors import DataQualityError
from spark_jobs.blocks.shards import pack, unpack
from spark_jobs.selection.comparison import Draw, excess_loss, features
from spark_jobs.selection.draw import draw, selection_of
from spark_jobs.selection.from_arrow import from_arrow
from spark_jobs.selection.mixture import component_variances
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.records import joined
from spark_jobs.selection.tasks import sigmoid
from tests.helpers.logged_records import binary_records, multiclass_records, regression_records

N = 3000
PLAIN = binary_records(N)
LOGIT, LABEL = PLAIN["prediction"].to_numpy(), PLAIN["label"].to_numpy()
LOSS, RESIDUAL = np.logaddexp(0, LOGIT) - LABEL * LOGIT, sigmoid(LOGIT) - LABEL
# Positives count for more, as they do where weights are costs; some rows count for nothing.
OWN = np.random.default_rng(5).lognormal(0, 0.8, N) * (1 + LABEL)
OWN[::50] = 0.0


def weighing(table: pa.Table, own: np.ndarray | list[float | None]) -> pa.Table:
    return table.append_column("row_weight", pa.array(own, pa.float64()))


WEIGHTED = weighing(PLAIN, OWN)


def mean(values: np.ndarray, own: np.ndarray = OWN) -> float:
    return float(own @ values / own.sum())


def matching(rows: pa.Table, values: np.ndarray) -> np.ndarray:
    """The values of drawn rows, by id."""
    return values[pc.index_in(rows["instance_id"], value_set=PLAIN["instance_id"]).to_numpy()]


@pytest.mark.parametrize(
    "policy", ["uniform", "obftf-prox", "grad-norm", "infobatch", "balanced", "uncertainty"]
)
def test_law_3_the_drawn_rows_estimate_the_weighted_mean_loss(policy: str) -> None:
    """60 draws: within 4 standard errors of the weighted mean, which the plain one is far from."""
    found = []
    for seed in range(1, 61):
        rows = selection_of(WEIGHTED, policy=policy, budget=0.2, seed=seed, task="binary").rows(
            True
        )
        weight = rows["weight"].to_numpy()
        found.append([weight.sum(), weight @ rows["loss"].to_numpy()])
    totals, losses = np.array(found).T
    error = np.std(losses / totals) / np.sqrt(len(found))
    assert losses.mean() / totals.mean() == pytest.approx(mean(LOSS), abs=4 * error)
    assert abs(mean(LOSS) - LOSS.mean()) > 10 * error
    per_row = totals / (0.2 * N)  # a mean of 1 in expectation
    assert per_row.mean() == pytest.approx(1.0, abs=4 * per_row.std() / np.sqrt(len(found)) + 1e-9)


def fitted(z: np.ndarray, label: np.ndarray, weight: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Coefficients of the weighted logistic model whose logit has an offset, by Newton steps."""
    q = np.zeros(z.shape[1])
    for _ in range(30):
        p = sigmoid(z @ q + offset)
        q -= np.linalg.solve(
            (z * (weight * p * (1 - p))[:, None]).T @ z, z.T @ (weight * (p - label))
        )
    return q


def test_law_3_a_model_fitted_with_offsets_is_the_weighted_one() -> None:
    """80 draws of a well-specified model whose weights hang on label and feature: the mean of the
    coefficients within 4 standard errors of the weighted fit, the plain fit far away."""
    random, n = np.random.default_rng(8), 6000
    x = random.normal(size=n)
    label = (random.random(n) < sigmoid(0.8 * x - 1)).astype(float)
    own = random.exponential(np.exp(0.5 * x) * (1 + 2 * label))
    ids = [f"i-{at}" for at in range(n)]
    table = pa.table({"instance_id": ids, "prediction": 0.7 * x - 0.8, "label": label})
    z = np.column_stack([np.ones(n), x])
    wanted = fitted(z, label, own, np.zeros(n))
    policy = policy_for("calibrated", "binary", calibrated=False)
    found = []
    for seed in range(1, 81):
        rows = draw(weighing(table, own), policy=policy, budget=0.2, seed=seed)
        chosen = rows["drawn"].to_numpy(zero_copy_only=False)
        weight, offset = (rows[name].to_numpy()[chosen] for name in ("weight", "offset"))
        found.append(fitted(z[chosen], label[chosen], weight, offset))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    # Fits to few rows are off by some 1/k, whatever the weights.
    assert (np.abs(np.mean(found, axis=0) - wanted) < 4 * error + 0.01).all()
    assert np.abs(fitted(z, label, np.ones(n), np.zeros(n)) - wanted).max() > 0.5


def test_an_offset_keeps_the_weight_out_of_the_probability() -> None:
    """Nobody knows what a row would weigh with its other label."""
    alone, weighted = (
        draw(table, policy="local-case-control", budget=0.2, seed=3) for table in (PLAIN, WEIGHTED)
    )
    for name in ("score", "probability", "offset", "drawn"):
        assert alone[name].equals(weighted[name])
    drawn = weighted["drawn"].to_numpy(zero_copy_only=False)
    np.testing.assert_allclose(weighted["weight"].to_numpy()[drawn], (OWN / OWN.mean())[drawn])


def test_scores_of_loss_and_gradient_are_those_of_the_weighted_row() -> None:
    for policy, score in (
        ("grad-norm", OWN * np.abs(RESIDUAL)),
        ("loss-proportional", OWN * LOSS),
        ("min-loss", 1 / (1 + OWN * LOSS)),
        ("uniform", np.ones(N)),
    ):
        rows = draw(WEIGHTED, policy=policy, budget=0.2, seed=3)
        np.testing.assert_allclose(rows["score"].to_numpy(), score, err_msg=policy)
    above = draw(WEIGHTED, policy="infobatch", budget=0.2)["score"].to_numpy()
    loss = OWN * LOSS
    assert (above == np.where(loss > loss.mean(), 1.0, 0.5)).all()


@pytest.mark.parametrize("policy", ["uniform", "calibrated"])
@pytest.mark.parametrize("make", [binary_records, multiclass_records, regression_records])
def test_a_whole_number_counts_as_so_many_rows(
    policy: str, make: Callable[[int], pa.Table]
) -> None:
    """Of all rows drawn, with equal probabilities: totals, and what calibration aims at."""
    table, times = make(400), np.random.default_rng(2).integers(0, 4, 400)
    again = table.take(pa.array(np.repeat(np.arange(400), times)))
    ids = pa.array([f"copy-{at}" for at in range(len(again))])
    again = again.set_column(0, "instance_id", ids)
    task = {"binary_records": "binary", "regression_records": "regression"}.get(
        make.__name__, "multiclass"
    )
    one, other = (
        selection_of(rows, policy=policy, budget=1.0, seed=3, task=task).report
        for rows in (weighing(table, times.astype(float)), again)
    )
    names = ["mean_loss", "mean_label", "mean_loss_estimate", "residual_gap"]
    assert {name: one[name] for name in names} == {
        name: pytest.approx(other[name], abs=1e-12) for name in names
    }
    gaps = [[line["loss_gap"] for line in report["segments"]] for report in (one, other)]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-12)


@pytest.mark.parametrize("weighting", ["inverse", "offset"])
def test_law_3_calibrated_totals_are_those_of_the_weighted_rows(weighting: str) -> None:
    """Judged by the sums themselves, over the rows and weights that are trained on."""
    policy = policy_for(
        "calibrated", "binary", weighting=weighting, ridge=0.0, bounds=(0.001, 100.0)
    )
    selection = selection_of(WEIGHTED, policy=policy, budget=0.2, seed=5, task="binary")
    assert selection.report["calibration"]["largest_relative_gap"] < 1e-9
    if weighting == "offset":  # whose totals are those of the tilted rows
        return
    rows = selection.rows(True)
    weight = rows["weight"].to_numpy()
    sketch = np.array(PLAIN["sketch"].to_pylist())
    is_level = np.array(
        [[key in keys for key in ("EWR", "UA")] for keys in PLAIN["segments"].to_pylist()]
    )
    wanted = [RESIDUAL, *(RESIDUAL[:, None] * np.hstack([sketch, is_level])).T]
    for values in wanted:
        got = weight @ matching(rows, values) / weight.sum()
        assert got == pytest.approx(mean(values), abs=1e-9)
    assert weight.mean() == pytest.approx(1.0, abs=1e-9)


def test_balanced_and_matched_rows_have_the_weighted_totals() -> None:
    relative = OWN / OWN.mean()
    rows = selection_of(WEIGHTED, policy="balanced", budget=0.2, seed=4, task="binary").rows(True)
    weight = rows["weight"].to_numpy()
    for values in (np.ones(N), LOSS, RESIDUAL, LABEL):
        total = weight @ matching(rows, values) / (0.2 * N)
        assert total == pytest.approx((relative * values).mean(), abs=0.02)
    rows = selection_of(WEIGHTED, policy="obftf", budget=0.2, seed=4, task="binary").rows(True)
    total = rows["weight"].to_numpy() @ rows["loss"].to_numpy() / (0.2 * N)
    assert total == pytest.approx((relative * LOSS).mean(), abs=1e-3)


def test_equal_weights_change_nothing_and_weights_of_1_not_one_bit() -> None:
    for policy in ("calibrated", "grad-norm", "balanced", "selective-backprop"):
        alone, twos = (
            draw(table, policy=policy, budget=0.1, seed=2)
            for table in (PLAIN, weighing(PLAIN, [2.0] * N))
        )
        assert alone["drawn"].equals(twos["drawn"]), policy
        np.testing.assert_allclose(alone["weight"].to_numpy(), twos["weight"].to_numpy())
        ones = draw(weighing(PLAIN, [1.0] * N), policy=policy, budget=0.1, seed=2)
        assert alone.equals(ones), policy


def test_weights_multiply_with_propensities() -> None:
    chance = np.clip(1.5 * sigmoid(LOGIT), 0.1, 1.0)
    both = WEIGHTED.append_column("propensity", pa.array(chance))
    selection = selection_of(both, policy="grad-norm", budget=0.2, seed=1, task="binary")
    rows, stands_for = selection.rows(True), OWN / chance
    expected = 0.2 / rows["probability"].to_numpy() * matching(rows, stands_for)
    np.testing.assert_allclose(rows["weight"].to_numpy(), expected / stands_for.mean())
    assert selection.report["mean_loss"] == pytest.approx(mean(LOSS, stands_for))


def test_a_row_of_weight_0_may_be_drawn_and_weighs_nothing() -> None:
    rows = draw(WEIGHTED, policy="uniform", budget=0.5, seed=1)
    drawn = rows["drawn"].to_numpy(zero_copy_only=False)
    assert drawn[OWN == 0].any()
    assert (rows["weight"].to_numpy()[drawn & (OWN == 0)] == 0).all()
    assert (rows["probability"].to_numpy() > 0).all()


def test_the_report_says_what_the_weights_are() -> None:
    report = selection_of(WEIGHTED, policy="uniform", budget=0.2, seed=1).report
    assert json.loads(json.dumps(report))["row_weight"] == {
        "mean": pytest.approx(OWN.mean()),
        "zero": 60,
        "effective_share": pytest.approx(OWN.sum() ** 2 / (N * (OWN**2).sum())),
    }
    assert "row_weight" not in selection_of(PLAIN, policy="uniform", budget=0.2, seed=1).report


def test_the_mixture_learns_from_weighted_gradients() -> None:
    selection = selection_of(WEIGHTED, policy="mixture", budget=0.2, seed=1, task="binary")
    records = from_arrow(WEIGHTED, seed=1)
    variances = component_variances(records, selection.plan)
    own, residual = records.row_weight, sigmoid(records.prediction) - records.label
    assert variances[-1] == pytest.approx((((own / OWN.mean()) * residual) ** 2).sum())
    size = own * np.abs(residual)  # of the second component, the residual norm
    slow = (own / OWN.mean() * residual) ** 2 / (0.9 * np.maximum(size / size.mean(), 1e-6) + 0.1)
    assert variances[1] == pytest.approx(slow.sum())


def test_compare_measures_against_the_step_on_the_weighted_rows() -> None:
    records = from_arrow(WEIGHTED, seed=1)
    z = features(records, 1)[0]
    whole = Draw(np.ones(N, bool), 3 * records.row_weight, np.zeros(N))
    assert excess_loss("binary", records, whole, z) == pytest.approx(0, abs=1e-20)
    plain = whole._replace(weight=np.ones(N))
    assert excess_loss("binary", records, plain, z) > 1e-4


def test_shards_carry_the_weights() -> None:
    records = from_arrow(WEIGHTED, seed=1)
    again = unpack(pa.py_buffer(pack(records).core), None, None)
    assert again.row_weight.tolist() == records.row_weight.tolist()
    plain = unpack(pa.py_buffer(pack(from_arrow(PLAIN, seed=1)).core), None, None)
    assert plain.row_weight.tolist() == [1.0] * N
    both = joined([records.part(0, 10), records.part(10, N)])
    assert both.row_weight.tolist() == records.row_weight.tolist()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, "row_weight is not from 0 to 1e+30 in 1 of"),
        (float("nan"), "row_weight is not from 0 to 1e+30 in 1 of"),
        (float("inf"), "row_weight is not from 0 to 1e+30 in 1 of"),
        (None, "row_weight is null beside a label in 1 of"),
    ],
)
def test_a_weight_that_is_none_is_refused(value: float | None, words: str) -> None:
    with pytest.raises(DataQualityError) as refused:
        draw(weighing(PLAIN, [value, *[1.0] * (N - 1)]), policy="uniform", budget=0.1)
    assert words in str(refused.value)


def test_weights_that_are_all_0_are_refused() -> None:
    with pytest.raises(DataQualityError, match=r"row_weight = 0 of all 3000 candidates.*Remedy"):
        draw(weighing(PLAIN, [0.0] * N), policy="uniform", budget=0.1)
