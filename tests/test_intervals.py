"""Intervals: they cover what they claim to, pair by pair, and by segment."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from trainer.promotion.assess import LEVELS, assess
from trainer.promotion.evaluate import evaluate
from trainer.promotion.intervals import GROUPS, groups, resampled, summed

Rows = tuple[np.ndarray, np.ndarray]


def answered(count: int, seed: int) -> Rows:
    """Calibrated logits of a binary question, and its labels."""
    random = np.random.default_rng(seed)
    logit = random.normal(-1, 1.5, count)
    return logit, (random.random(count) < 1 / (1 + np.exp(-logit))).astype(np.float64)


def test_the_values_are_those_of_the_metrics() -> None:
    logit, label = answered(2000, seed=1)
    found = assess("binary", logit, logit - 0.3, label)
    values = {name: interval.value for name, interval in found.challenger.items()}
    assert {"rows": 2000.0} | values == evaluate("binary", logit, label)
    champion = evaluate("binary", logit - 0.3, label)
    for name, increase in found.increase.items():
        assert increase.value == pytest.approx(values[name] - champion[name])


@pytest.mark.parametrize("name", ["loss", "auc", "calibration_ratio"])
def test_nine_intervals_in_ten_hold_the_truth(name: str) -> None:
    truth = evaluate("binary", *answered(2_000_000, seed=0))[name]
    held = 0
    for seed in range(1, 201):
        logit, label = answered(400, seed)
        _, low, high = assess("binary", logit, None, label, confidence=0.9).challenger[name]
        held += low <= truth <= high
    assert 180 - 3 * 4.3 <= held <= 180 + 3 * 4.3  # three standard deviations of a binomial


def test_the_interval_of_a_difference_is_that_of_pairs() -> None:
    logit, label = answered(1000, seed=2)
    found = assess("binary", logit + 0.05, logit, label)
    alone, pairs = found.challenger["loss"], found.increase["loss"]
    assert pairs.high - pairs.low < 0.2 * (alone.high - alone.low)
    same = assess("binary", logit, logit, label).increase["loss"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_rows_in_groups_spread_as_rows_do() -> None:
    values = np.random.default_rng(3).exponential(size=(20_000, 1))
    group = groups(len(values))
    assert np.unique(np.bincount(group)).tolist() == [20_000 // GROUPS]
    columns = np.hstack([np.ones_like(values), values])
    sums = resampled(summed(columns, group))
    spread = (sums[:, 1] / sums[:, 0]).std()
    assert spread == pytest.approx(values.std() / np.sqrt(len(values)), rel=0.1)


def test_the_spread_of_the_auc_is_that_of_resampled_rows() -> None:
    logit, label = answered(500, seed=4)
    _, low, high = assess("binary", logit, None, label, confidence=0.9).challenger["auc"]
    random = np.random.default_rng(5)
    draws = random.integers(0, 500, (2000, 500))
    direct = np.quantile([roc_auc_score(label[d], logit[d]) for d in draws], [0.05, 0.95])
    assert [low, high] == pytest.approx(direct, abs=0.006)


def test_segments_are_metrics_of_their_rows() -> None:
    logit, label = answered(900, seed=6)
    champion = logit * 0.5
    origin = np.array(["EWR", "JFK", "LGA"])[np.arange(900) % 3]
    lines = assess("binary", logit, champion, label, segments={"origin": origin}).segments
    assert [(line.segment, line.level, line.rows) for line in lines] == [
        ("origin", "EWR", 300),
        ("origin", "JFK", 300),
        ("origin", "LGA", 300),
    ]
    for line in lines:
        here = origin == line.level
        one, other = (evaluate("binary", x[here], label[here]) for x in (logit, champion))
        assert line.loss.value == pytest.approx(one["loss"])
        assert line.increase is not None
        assert line.increase.value == pytest.approx(one["loss"] - other["loss"])
        assert line.increase.low < line.increase.value < line.increase.high
        assert line.calibration_ratio is not None
        assert line.calibration_ratio.value == pytest.approx(one["calibration_ratio"])


def test_of_very_many_levels_the_largest_are_compared() -> None:
    logit, label = answered(1000, seed=7)
    level = np.minimum(np.arange(1000), 200)
    lines = assess("binary", logit, None, label, segments={"shop": level}).segments
    assert len(lines) == LEVELS
    assert max(line.rows for line in lines) == 800


def test_multiclass_and_regression_have_intervals_too() -> None:
    random = np.random.default_rng(8)
    logits, classes = random.normal(size=(300, 4)), random.integers(0, 4, 300)
    many = assess("multiclass", logits, logits * 2, classes.astype(np.float64))
    assert set(many.challenger) == {"loss", "accuracy", "calibration_error", "calibration_ratio"}
    value = random.normal(size=300)
    value_lines = assess("regression", value, value + 1, value, segments={"a": classes})
    assert value_lines.increase["mae"].value == pytest.approx(-1)
    assert value_lines.segments[0].calibration_ratio is None


def test_no_rows_and_a_loss_that_is_no_number() -> None:
    assert assess("binary", np.zeros(0), None, np.zeros(0)).rows == 0
    broken = assess("binary", np.array([np.nan, 1.0]), None, np.array([0.0, 1.0]))
    assert np.isnan(broken.challenger["loss"].value)
