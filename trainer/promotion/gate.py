"""Decides whether a challenger serves: a pure function of what was measured and of the rule."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from schemas.sections.gate import Gate
from trainer.promotion.assess import Assessment, Named, SegmentLine
from trainer.promotion.intervals import Interval

HOLDOUT = "held-out"


class Verdict(NamedTuple):
    """The outcome and, in words, why."""

    passed: bool
    reason: str


def decide(sets: Mapping[str, Assessment], gate: Gate, anchor: str = "") -> Verdict:
    """Judge by every set of rows; the first must have `min_rows`, the others count from there on.

    Without champion and anchor a sound challenger passes that keeps the limits which need none. A
    limit that cannot be measured is not kept. anchor: which version it is, or why there is none.
    """
    of, first = next(iter(sets.items()))
    if first.rows < gate.min_rows:
        return Verdict(False, f"{first.rows} {of} rows, gate.min_rows is {gate.min_rows}")
    judged = {name: own for name, own in sets.items() if own.rows >= gate.min_rows}
    words = [_in_words(name, own, gate, anchor) for name, own in judged.items()]
    words += [f"{sets[n].rows} {n} rows were too few to judge" for n in sets if n not in judged]
    if anchor and not first.anchor:
        words.append(anchor)
    faults = [fault for name, own in judged.items() for fault in _faults(name, own, gate, anchor)]
    return Verdict(not faults, "; ".join([*faults, *words]))


class _Other(NamedTuple):
    """A model that the challenger may not be much worse than."""

    over: str  # in a fault, after "loss increase"
    increase: Interval
    of_segment: Callable[[SegmentLine], Interval | None]


def _others(assessment: Assessment, anchor: str) -> list[_Other]:
    """Champion and anchor, where they are there. One whose own loss is no number is left out: it
    cannot be better."""
    found = [
        ("", assessment.increase, lambda line: line.increase),
        (f" over {anchor}", assessment.anchor_increase, lambda line: line.anchor_increase),
    ]
    return [
        _Other(over, increase["loss"], of_segment)
        for over, increase, of_segment in found
        if "loss" in increase and math.isfinite(increase["loss"].value)
    ]


def _faults(name: str, assessment: Assessment, gate: Gate, anchor: str) -> Iterator[str]:
    """Every limit that is not kept on a set of rows, with the numbers."""
    unsound = [n for n, metric in assessment.challenger.items() if not math.isfinite(metric.value)]
    if unsound:
        yield f"not finite on {assessment.rows} {name} rows: {', '.join(unsound)}"
        return
    others = _others(assessment, anchor)
    for other in others:
        if _judged(other.increase, gate) > gate.max_loss_increase:
            yield (
                f"loss increase{other.over} on {name} rows {_shown(other.increase)},"
                f" gate.max_loss_increase is {gate.max_loss_increase} for {_of(gate)}"
            )
    if others and gate.max_segment_loss_increase is not None:
        yield from _segment_faults(name, assessment, others, gate, gate.max_segment_loss_increase)
    if gate.max_calibration_gap is not None:
        yield from _calibration_faults(name, assessment, gate, gate.max_calibration_gap)


def _segment_faults(
    name: str, assessment: Assessment, others: list[_Other], gate: Gate, limit: float
) -> Iterator[str]:
    large = [line for line in assessment.segments if line.rows >= gate.min_rows]
    if not large:
        yield (
            f"gate.max_segment_loss_increase is {limit} and cannot be measured: no segment has"
            f" gate.min_rows = {gate.min_rows} of the {assessment.rows} {name} rows"
        )
    increases = [
        (line, other.over, increase)
        for other in others
        for line in large
        if (increase := other.of_segment(line)) is not None
    ]
    beyond = [one for one in increases if _judged(one[2], gate) > limit]
    worst = sorted(beyond, key=lambda one: _judged(one[2], gate), reverse=True)
    for line, over, increase in worst[:3]:
        yield (
            f"loss increase{over} on {line.rows} {name} rows of {line.segment} {line.level}"
            f" {_shown(increase)}, gate.max_segment_loss_increase is {limit} for {_of(gate)}"
        )
    if len(worst) > 3:
        yield f"{len(worst) - 3} more segments are beyond the limit"


def _calibration_faults(
    name: str, assessment: Assessment, gate: Gate, limit: float
) -> Iterator[str]:
    ratio = assessment.challenger.get("calibration_ratio")
    if ratio is None:
        yield (
            f"gate.max_calibration_gap is {limit} and cannot be measured: nothing that was"
            f" predicted is observed on the {assessment.rows} {name} rows"
        )
    elif _judged(_gap(ratio), gate) > limit:
        yield (
            f"predicted to observed on {name} rows {ratio.value:.3f} [{ratio.low:.3f},"
            f" {ratio.high:.3f}], gate.max_calibration_gap is {limit} for {_of(gate)}"
        )


def _judged(value: Interval, gate: Gate) -> float:
    """The number that must keep the limit; one that is not defined keeps none."""
    own = {"estimate": value.value, "lower": value.low, "upper": value.high}[gate.bound]
    return math.inf if math.isnan(own) else own


def _of(gate: Gate) -> str:
    ends = {"lower": "the lower end", "upper": "the upper end"}
    return ends.get(gate.bound, "the estimate")


def _gap(ratio: Interval) -> Interval:
    """The distance of a ratio from 1, and the least and largest in its interval."""
    ends = sorted((abs(ratio.low - 1), abs(ratio.high - 1)))
    around = ratio.low <= 1 <= ratio.high
    return Interval(abs(ratio.value - 1), 0.0 if around else ends[0], ends[1])


def _in_words(name: str, assessment: Assessment, gate: Gate, anchor: str) -> str:
    """What was measured on a set of rows."""
    loss = f"loss {assessment.challenger['loss'].value:.5f} on {assessment.rows} {name} rows"
    if not assessment.champion and not assessment.anchor:
        return f"first model, {loss}"
    found = [
        ("champion", assessment.champion, assessment.increase),
        (anchor, assessment.anchor, assessment.anchor_increase),
    ]
    beside = [_beside(of, model, increase) for of, model, increase in found if model]
    allowed = f"intervals of {gate.confidence:.0%}, at most {gate.max_loss_increase} allowed"
    return ", ".join([loss, *beside, allowed])


def _beside(of: str, model: Named, increase: Named) -> str:
    """What the challenger was compared with, and how."""
    if not math.isfinite(increase["loss"].value):
        return f"the {of}'s is not finite"
    return f"{of} {model['loss'].value:.5f}, increase {_shown(increase['loss'])}"


def _shown(value: Interval) -> str:
    return f"{value.value:+.5f} [{value.low:+.5f}, {value.high:+.5f}]"
