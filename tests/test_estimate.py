"""`estimate`: means over all rows from values of the drawn, by weights of 1/pi made to fit."""

import warnings
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from tenforward import draw, estimate
from tests.helpers.logged_records import binary_records

N = 4000
RECORDS = binary_records(N)
LOGIT, LABEL = RECORDS["prediction"].to_numpy(), RECORDS["label"].to_numpy()
LOSS_A = np.logaddexp(0, LOGIT) - LABEL * LOGIT
OTHER = 1.2 * LOGIT + 0.2 * np.random.default_rng(4).normal(size=N)
LOSS_B = np.logaddexp(0, OTHER) - LABEL * OTHER
ORIGIN = [keys[0] for keys in RECORDS["segments"].to_pylist()]


def drawn(policy: str = "calibrated", budget: float = 0.1, seed: int = 8) -> pa.Table:
    """What `draw` says, the champion's losses of all rows and the challenger's of the drawn."""
    table = draw(RECORDS, policy=policy, budget=budget, seed=seed)
    unknown = ~table["drawn"].to_numpy()
    added = {
        "loss_a": pa.array(LOSS_A),
        "loss_b": pa.array(LOSS_B, mask=unknown),
        "origin": pa.array(ORIGIN),
        "sketch": RECORDS["sketch"],
    }
    for name, column in added.items():
        table = table.append_column(name, column)
    return table


def changed(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(table.schema.names.index(name), name, values)


# --- what comes back ---


def test_a_mean_over_all_rows_with_its_interval() -> None:
    found = estimate(drawn(), value="loss_b", auxiliary=["loss_a"])
    assert found.schema.names == [
        "group", "rows", "drawn", "estimate", "standard_error", "low", "high"
    ]  # fmt: skip
    (line,) = found.to_pylist()
    assert (line["group"], line["rows"], line["drawn"]) == (None, N, N // 10)
    assert line["low"] < LOSS_B.mean() < line["high"]
    assert 0 < line["standard_error"] < 0.02 * LOSS_B.mean()


def test_a_wider_confidence_is_a_wider_interval_around_the_same_estimate() -> None:
    narrow, wide = (
        estimate(drawn(), "loss_b", ["loss_a"], confidence=share).to_pylist()[0]
        for share in (0.8, 0.99)
    )
    assert narrow["estimate"] == wide["estimate"]
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]


def test_the_estimator_against_the_slow_formula() -> None:
    """Weighted least squares by `lstsq` over the drawn rows, then the sums one by one."""
    table = drawn()
    (line,) = estimate(table, "loss_b", ["loss_a"]).to_pylist()
    pi, rows = table["probability"].to_numpy(), np.flatnonzero(table["drawn"].to_numpy())
    x = np.column_stack([np.ones(N), pi, LOSS_A])
    root = np.sqrt(1 - pi[rows]) / pi[rows]
    beta = np.linalg.lstsq(x[rows] * root[:, None], LOSS_B[rows] * root)[0]
    total = 0.0
    for row in range(N):
        total += x[row] @ beta
    for row in rows:
        total += (LOSS_B[row] - x[row] @ beta) / pi[row]
    assert line["estimate"] == pytest.approx(total / N, rel=1e-9)
    hat = (x[rows] * root[:, None]) @ np.linalg.pinv(x[rows] * root[:, None])
    missing = x.sum(axis=0) - (x[rows] / pi[rows, None]).sum(axis=0)
    gram = (x[rows] * root[:, None]).T @ (x[rows] * root[:, None])
    variance = 0.0
    for place, row in enumerate(rows):
        g = 1 + (1 - pi[row]) / pi[row] * (x[row] @ np.linalg.solve(gram, missing))
        error = (LOSS_B[row] - x[row] @ beta) * g / (1 - hat[place, place])
        variance += (root[place] * error) ** 2
    assert line["standard_error"] == pytest.approx(np.sqrt(variance) / N, rel=1e-6)


def test_what_is_an_auxiliary_is_known_exactly() -> None:
    table = drawn()
    table = changed(table, "loss_b", pa.array(LOSS_A, mask=~table["drawn"].to_numpy()))
    (line,) = estimate(table, "loss_b", ["loss_a", "origin"]).to_pylist()
    assert line["estimate"] == pytest.approx(LOSS_A.mean(), rel=1e-12)
    assert (line["standard_error"], line["low"]) == (0.0, line["high"])


def test_the_better_the_auxiliaries_the_narrower_the_interval() -> None:
    without, beside = (
        estimate(drawn("uniform"), "loss_b", names).to_pylist()[0] for names in ([], ["loss_a"])
    )
    assert beside["standard_error"] < without["standard_error"] / 3


def test_numbers_strings_lists_and_booleans_are_auxiliaries() -> None:
    table = drawn().append_column("late", pa.array(LABEL == 1))
    found = estimate(table, "loss_b", ["loss_a", "origin", "sketch", "late"]).to_pylist()[0]
    assert found["low"] < LOSS_B.mean() < found["high"]


def test_products_of_auxiliaries_say_what_a_change_of_the_logit_does() -> None:
    """The loss changes by the residual times the change of the logit, which the sketch follows."""
    sharper = 1.2 * LOGIT
    loss = np.logaddexp(0, sharper) - LABEL * sharper
    table = drawn().append_column("residual", pa.array(1 / (1 + np.exp(-LOGIT)) - LABEL))
    table = changed(table, "loss_b", pa.array(loss, mask=~table["drawn"].to_numpy()))
    alone, both = (
        estimate(table, "loss_b", ["loss_a", "residual", *names]).to_pylist()[0]
        for names in ([], ["residual*sketch", "residual*origin"])
    )
    assert both["standard_error"] < 0.6 * alone["standard_error"]
    assert both["low"] < loss.mean() < both["high"]


def test_a_product_is_the_product_of_the_columns() -> None:
    table = drawn().append_column("times", pa.array(LOSS_A * LOGIT))
    table = table.append_column("logit", pa.array(LOGIT))
    one, other = (
        estimate(table, "loss_b", ["loss_a", name]).to_pylist()[0]
        for name in ("times", "loss_a*logit")
    )
    assert one == pytest.approx(other)


def test_a_mean_of_each_group() -> None:
    found = estimate(drawn(), "loss_b", ["loss_a"], by="origin").to_pylist()
    assert [line["group"] for line in found] == ["EWR", "JFK", "LGA"]
    origin = np.array(ORIGIN)
    assert {line["group"]: line["rows"] for line in found} == Counter(ORIGIN)
    assert sum(line["drawn"] for line in found) == N // 10
    for line in found:
        truth = LOSS_B[origin == line["group"]].mean()
        assert abs(line["estimate"] - truth) < 4 * line["standard_error"]


def test_a_ratio_of_two_values() -> None:
    table = drawn()
    table = table.append_column("late", pa.array(LABEL, mask=~table["drawn"].to_numpy()))
    (line,) = estimate(table, "loss_b", ["loss_a"], over="late").to_pylist()
    assert line["low"] < LOSS_B.sum() / LABEL.sum() < line["high"]


def test_a_difference_needs_no_more_than_a_column() -> None:
    """The challenger's loss less the champion's, which is known of all: the same interval."""
    table = drawn()
    table = table.append_column("gain", pa.array(LOSS_B - LOSS_A, mask=~table["drawn"].to_numpy()))
    own, gain = (estimate(table, name, ["loss_a"]).to_pylist()[0] for name in ("loss_b", "gain"))
    assert gain["estimate"] == pytest.approx(own["estimate"] - LOSS_A.mean(), abs=1e-12)
    assert gain["standard_error"] == pytest.approx(own["standard_error"], rel=1e-9)


def test_rows_that_are_sure_count_as_themselves() -> None:
    """Held-out rows, all of them known, beside a sample of the others."""
    table = drawn().select(["probability", "drawn", "loss_a", "loss_b"])
    held = pa.table(
        {
            "probability": np.ones(3),
            "drawn": [True, True, True],
            "loss_a": [9.0, 8.0, 7.0],
            "loss_b": [100.0, 200.0, 300.0],
        }
    )
    one, both = (
        estimate(part, "loss_b", ["loss_a"]).to_pylist()[0]
        for part in (table, pa.concat_tables([table, held]))
    )
    # Their auxiliaries lie far out and move no coefficient: what they carry is no estimate.
    assert both["estimate"] * (N + 3) == pytest.approx(one["estimate"] * N + 600, rel=1e-9)
    assert both["standard_error"] == pytest.approx(one["standard_error"] * N / (N + 3), rel=1e-9)


def test_a_census_has_no_error() -> None:
    (line,) = estimate(drawn("uniform", budget=1.0), "loss_b").to_pylist()
    assert line["estimate"] == pytest.approx(LOSS_B.mean(), rel=1e-12)
    assert line["standard_error"] == 0.0


def test_a_data_frame_does_as_well() -> None:
    table = drawn()
    assert estimate(table.to_pandas(), "loss_b", ["loss_a"]).equals(
        estimate(table, "loss_b", ["loss_a"])
    )


# --- where little is known ---


def test_an_interval_that_rests_on_few_rows_is_said_to() -> None:
    table = drawn()
    seen = table["drawn"].to_numpy()
    once = np.zeros(N)
    once[np.flatnonzero(seen)[:2]] = 50.0
    table = changed(table, "loss_b", pa.array(once, mask=~seen))
    with pytest.warns(UserWarning, match="rests on .* drawn rows alone"):
        estimate(table, "loss_b", ["loss_a"])


def test_a_share_of_which_no_drawn_row_has_any_may_be_above_nothing() -> None:
    """With a tenth of 4000, 35 rows go unseen with a chance of 2.5 %."""
    table = drawn("uniform")
    table = changed(table, "loss_b", pa.array(np.zeros(N), mask=~table["drawn"].to_numpy()))
    (line,) = estimate(table, "loss_b").to_pylist()
    assert (line["estimate"], line["low"]) == (0.0, 0.0)
    assert line["high"] == pytest.approx(np.log(0.025) / np.log(0.9) / N)


def test_a_group_with_few_drawn_rows_bears_fewer_auxiliaries() -> None:
    table = drawn()
    small = np.full(N, "large")
    small[np.flatnonzero(table["drawn"].to_numpy())[:15]] = "small"
    small[np.flatnonzero(~table["drawn"].to_numpy())[:150]] = "small"
    small[np.flatnonzero(~table["drawn"].to_numpy())[-3:]] = "none"
    table = table.append_column("size", pa.array(small))
    with pytest.warns(
        UserWarning, match=r"'loss_b' of size 'small': 15 .*out are pi \(1\), loss_a"
    ):
        lines = estimate(table, "loss_b", ["loss_a"], by="size").to_pylist()
    found = {line["group"]: line for line in lines}
    assert found["small"]["estimate"] is not None
    assert found["none"] == dict.fromkeys(found["none"]) | {"group": "none", "rows": 3, "drawn": 0}


# --- refusals, each with the column, the value and the remedy ---


@pytest.mark.parametrize("policy", ["obftf", "max-loss", "min-loss"])
def test_a_design_that_promises_no_probabilities_is_refused(policy: str) -> None:
    with pytest.raises(ConfigurationError, match=f"policy = '{policy}'.*promises no.*Remedy"):
        estimate(drawn(policy), "loss_b", ["loss_a"])


def test_rows_that_cannot_have_been_drawn_so_are_refused() -> None:
    """A choice by the loss that lost its name, and columns in another order than the draw's."""
    nameless = drawn("max-loss").replace_schema_metadata(None)
    with pytest.raises(DataQualityError, match="no draw with these probabilities"):
        estimate(nameless, "loss_b", ["loss_a"])
    table = drawn()
    shuffled = np.random.default_rng(1).permutation(table["probability"].to_numpy())
    with pytest.raises(DataQualityError, match="no draw with these probabilities"):
        estimate(changed(table, "probability", pa.array(shuffled)), "loss_b", ["loss_a"])


BAD = {
    "a null in an auxiliary": ("loss_a", [None, *LOSS_A[1:]], "'loss_a' is null in 1"),
    "an auxiliary that is infinite": ("loss_a", [np.inf, *LOSS_A[1:]], "'loss_a' is inf in row 0"),
    "lists of two lengths": ("sketch", [[1.0], *[[1.0, 2.0]] * (N - 1)], "1 entries in one row"),
    "a value missing where drawn": ("loss_b", [np.nan] * N, "null or not finite in 400 of 400"),
    "a probability of nought": ("probability", [0.0, *[0.1] * (N - 1)], "probability = 0.0 in row"),
    "certain and not drawn": ("probability", [1.0] * N, "probability = 1.0 in row .*not drawn"),
    "drawn or not, unknown": ("drawn", [None, *[True] * (N - 1)], "drawn is bool with 1 nulls"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_values_that_cannot_be_are_refused(case: str) -> None:
    name, values, told = BAD[case]
    table = changed(drawn(), name, pa.array(values))
    with pytest.raises(DataQualityError, match=f"{told}.*Remedy"):
        estimate(table, "loss_b", ["loss_a", "sketch"])


def test_columns_that_are_not_there_or_of_no_use_are_refused() -> None:
    table = drawn()
    with pytest.raises(ConfigurationError, match=r"lacks the column 'loss_c'; it has .*loss_b"):
        estimate(table, "loss_c", ["loss_a"])
    with pytest.raises(ConfigurationError, match="value 'origin' is string"):
        estimate(table, "origin")
    with pytest.raises(ConfigurationError, match="confidence = 95: not between 0 and 1"):
        estimate(table, "loss_b", confidence=95)
    moment = table.append_column("at", pa.array([0] * N, pa.timestamp("us")))
    with pytest.raises(ConfigurationError, match="auxiliary 'at' is timestamp"):
        estimate(moment, "loss_b", ["at"])
    with pytest.raises(NoDataError, match="no row"):
        estimate(table.slice(0, 0), "loss_b")
    with pytest.raises(NoDataError, match="drawn is false in all"):
        estimate(changed(table, "drawn", pa.array([False] * N)), "loss_b")


def test_nothing_is_warned_of_where_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate(drawn(), "loss_b", ["loss_a"], by="origin")
