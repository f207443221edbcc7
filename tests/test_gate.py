"""The gate's rule: when a challenger becomes the champion, and why not."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.sections.gate import Gate
from tests.helpers.trainer_tables import small_pipeline
from trainer.promotion.assess import Assessment, SegmentLine
from trainer.promotion.gate import decide
from trainer.promotion.intervals import Interval

PIPELINE = small_pipeline(gate={"max_loss_increase": 0.05})


# The rule. An increase of the loss by 0.02, surely between 0.005 and 0.035.

WORSE = Interval(0.02, 0.005, 0.035)
SURE = Interval(0.52, 0.50, 0.54)


def found(
    increase: Interval | None = None,
    *,
    rows: int = 500,
    segments: Sequence[SegmentLine] = (),
    **challenger: Interval,
) -> Assessment:
    """What was measured; without an `increase` there is no champion."""
    metrics = {"loss": SURE} | challenger
    champion = {} if increase is None else {"loss": SURE}
    return Assessment(
        rows, metrics, champion, {} if increase is None else {"loss": increase}, segments
    )


@pytest.mark.parametrize(
    ("rule", "assessment", "passed", "reason"),
    [
        ({}, found(), True, "first model, loss 0.52000 on 500 held-out rows"),
        ({}, found(Interval(-0.05, -0.06, -0.04)), True, "increase -0.05000 [-0.06000, -0.04000]"),
        ({"max_loss_increase": 0.02}, found(WORSE), True, "at most 0.02 allowed"),
        ({"max_loss_increase": 0.01}, found(WORSE), False, "gate.max_loss_increase is 0.01"),
        ({}, found(rows=99), False, "gate.min_rows is 100"),
        ({}, found(loss=Interval(math.nan, 0, 0)), False, "not finite on 500 held-out rows: loss"),
        ({}, found(auc=Interval(math.inf, 0, 0)), False, "auc"),
        ({}, found(Interval(math.nan, 0, 0)), True, "champion's is not finite"),
    ],
)
def test_the_gate_decides_and_says_why(
    rule: dict[str, Any], assessment: Assessment, passed: bool, reason: str
) -> None:
    decision = decide({"held-out": assessment}, Gate(**rule))
    assert decision.passed is passed
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("bound", "limit", "passed"),
    [
        ("lower", 0.004, False),
        ("lower", 0.006, True),
        ("estimate", 0.019, False),
        ("estimate", 0.021, True),
        ("upper", 0.034, False),
        ("upper", 0.036, True),
    ],
)
def test_the_bound_says_which_end_of_the_interval_must_keep_the_limit(
    bound: str, limit: float, passed: bool
) -> None:
    rule = Gate(max_loss_increase=limit, bound=bound)
    assert decide({"held-out": found(WORSE)}, rule).passed is passed


@pytest.mark.parametrize(
    ("ratio", "bound", "passed"),
    [
        (Interval(1.04, 0.99, 1.09), "estimate", True),
        (Interval(0.94, 0.89, 0.99), "estimate", False),
        (Interval(0.94, 0.89, 0.99), "lower", True),  # surely off by 0.01 alone
        (Interval(1.04, 0.99, 1.09), "upper", False),  # may be off by 0.09
        (Interval(1.01, 0.99, 1.03), "upper", True),
    ],
)
def test_a_challenger_out_of_calibration_is_refused(
    ratio: Interval, bound: str, passed: bool
) -> None:
    rule = Gate(max_calibration_gap=0.05, bound=bound)
    decision = decide({"held-out": found(calibration_ratio=ratio)}, rule)
    assert decision.passed is passed
    assert passed or "predicted to observed" in decision.reason


def test_a_segment_that_got_worse_is_refused_by_name_where_it_has_rows_enough() -> None:
    def line(level: str, rows: int) -> SegmentLine:
        return SegmentLine("origin", level, rows, SURE, Interval(0.3, 0.2, 0.4), None)

    better = Interval(-0.05, -0.06, -0.04)
    small, large = line("LGA", 99), line("JFK", 100)
    kept = SegmentLine("origin", "EWR", 100, SURE, better, None)
    rule = Gate(max_segment_loss_increase=0.1)
    assert decide({"held-out": found(better, segments=[small, kept])}, rule).passed
    decision = decide({"held-out": found(better, segments=[small, large])}, rule)
    assert not decision.passed
    assert "on 100 held-out rows of origin JFK +0.30000" in decision.reason
    assert "LGA" not in decision.reason


def test_the_days_after_those_drawn_from_are_judged_as_well() -> None:
    good, bad = found(Interval(-0.05, -0.06, -0.04)), found(WORSE)
    decision = decide({"held-out": good, "forward": bad}, Gate())
    assert not decision.passed
    assert "loss increase on forward rows" in decision.reason
    few = decide({"held-out": good, "forward": found(WORSE, rows=7)}, Gate())
    assert few.passed
    assert "7 forward rows were too few to judge" in few.reason


BETTER = Interval(-0.05, -0.06, -0.04)


@pytest.mark.parametrize(
    ("rule", "assessment", "reason"),
    [
        (
            {"max_calibration_gap": 0.05},
            found(BETTER),  # no label 1 among the rows: the ratio is not defined
            "gate.max_calibration_gap is 0.05 and cannot be measured: nothing that was predicted is"
            " observed on the 500 held-out rows",
        ),
        (
            {"max_calibration_gap": 0.05, "bound": "upper"},
            found(BETTER, calibration_ratio=Interval(1.0, math.nan, math.nan)),
            "gate.max_calibration_gap is 0.05 for the upper end",
        ),
        (
            {"max_segment_loss_increase": 0.1},
            found(BETTER, segments=[SegmentLine("origin", "JFK", 99, SURE, BETTER, None)]),
            "gate.max_segment_loss_increase is 0.1 and cannot be measured: no segment has"
            " gate.min_rows = 100 of the 500 held-out rows",
        ),
        ({"max_segment_loss_increase": 0.1}, found(BETTER), "no segment has gate.min_rows"),
        (
            {"bound": "upper"},
            found(Interval(-0.05, math.nan, math.nan)),
            "gate.max_loss_increase is 0.0 for the upper end",
        ),
    ],
)
def test_a_limit_that_cannot_be_measured_is_not_kept_and_named(
    rule: dict[str, Any], assessment: Assessment, reason: str
) -> None:
    decision = decide({"held-out": assessment}, Gate(**rule))
    assert not decision.passed
    assert reason in decision.reason


def test_a_limit_must_be_measured_on_every_set_that_is_judged() -> None:
    sound = Interval(1.0, 0.99, 1.01)
    sets = {"held-out": found(BETTER, calibration_ratio=sound), "forward": found(BETTER)}
    decision = decide(sets, Gate(max_calibration_gap=0.05))
    assert not decision.passed
    assert "cannot be measured: nothing that was predicted is observed on the 500 forward rows" in (
        decision.reason
    )


def test_without_a_champion_an_increase_has_nothing_to_be_measured_by() -> None:
    assert decide({"held-out": found()}, Gate(max_segment_loss_increase=0.1)).passed


@pytest.mark.parametrize(
    ("task", "rule", "words"),
    [
        (
            "binary",
            {"max_loss_increase": 0.2, "max_segment_loss_increase": 0.1},
            "without effect",
        ),
        ("regression", {"max_calibration_gap": 0.1}, "no probabilities"),
        ("binary", {"max_segment_loss_increase": 0.1}, "names no segment"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(
    task: str, rule: dict[str, float], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        small_pipeline(task, gate=rule)
