"""Decides whether a challenger serves: a pure function of what was measured and of the rule."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from schemas.sections.gate import Gate
from trainer.promotion.assess import Assessment, SegmentLine
from trainer.promotion.intervals import Interval

HOLDOUT = "held-out"


class Verdict(NamedTuple):
    """The outcome and, in words, why."""

    passed: bool
    reason: str


def decide(sets: Mapping[str, Assessment], gate: Gate) -> Verdict:
    """Judge by every set of rows; `held-out` must have `min_rows`, the others count from there on.

    Without a champion a sound challenger passes that keeps the limits which need none.
    """
    held = sets[HOLDOUT]
    if held.rows < gate.min_rows:
        return Verdict(False, f"{held.rows} held-out rows, gate.min_rows is {gate.min_rows}")
    judged = {name: own for name, own in sets.items() if own.rows >= gate.min_rows}
    words = [_in_words(name, own, gate) for name, own in judged.items()]
    words += [f"{sets[n].rows} {n} rows were too few to judge" for n in sets if n not in judged]
    faults = [fault for name, own in judged.items() for fault in _faults(name, own, gate)]
    return Verdict(not faults, "; ".join([*faults, *words]))


def _faults(name: str, assessment: Assessment, gate: Gate) -> Iterator[str]:
    """Every limit that is not kept on a set of rows, with the numbers."""
    unsound = [n for n, metric in assessment.challenger.items() if not math.isfinite(metric.value)]
    if unsound:
        yield f"not finite on {assessment.rows} {name} rows: {', '.join(unsound)}"
        return
    increase = assessment.increase.get("loss")
    # A champion whose own loss is no number cannot be worse.
    if increase is not None and math.isfinite(increase.value):
        over = _judged(increase, gate)
        if over > gate.max_loss_increase:
            yield (
                f"loss increase on {name} rows {_shown(increase)}, gate.max_loss_increase is"
                f" {gate.max_loss_increase} for {_of(gate)}"
            )
        yield from _segment_faults(name, assessment, gate)
    ratio = assessment.challenger.get("calibration_ratio")
    if gate.max_calibration_gap is not None and ratio is not None:
        gap = _judged(_gap(ratio), gate)
        if gap > gate.max_calibration_gap:
            yield (
                f"predicted to observed on {name} rows {ratio.value:.3f} [{ratio.low:.3f},"
                f" {ratio.high:.3f}], gate.max_calibration_gap is {gate.max_calibration_gap} for"
                f" {_of(gate)}"
            )


def _segment_faults(name: str, assessment: Assessment, gate: Gate) -> Iterator[str]:
    limit = gate.max_segment_loss_increase
    if limit is None:
        return

    def over(line: SegmentLine) -> float:
        if line.increase is None or line.rows < gate.min_rows:
            return -math.inf
        return _judged(line.increase, gate)

    beyond = (line for line in assessment.segments if over(line) > limit)
    worst = sorted(beyond, key=over, reverse=True)
    for line in worst[:3]:
        yield (
            f"loss increase on {line.rows} {name} rows of {line.segment} {line.level}"
            f" {_shown(line.increase)}, gate.max_segment_loss_increase is {limit} for {_of(gate)}"
        )
    if len(worst) > 3:
        yield f"{len(worst) - 3} more segments are beyond the limit"


def _judged(value: Interval, gate: Gate) -> float:
    """The number that must keep the limit."""
    return {"estimate": value.value, "lower": value.low, "upper": value.high}[gate.bound]


def _of(gate: Gate) -> str:
    ends = {"lower": "the lower end", "upper": "the upper end"}
    return ends.get(gate.bound, "the estimate")


def _gap(ratio: Interval) -> Interval:
    """The distance of a ratio from 1, and the least and largest in its interval."""
    ends = sorted((abs(ratio.low - 1), abs(ratio.high - 1)))
    around = ratio.low <= 1 <= ratio.high
    return Interval(abs(ratio.value - 1), 0.0 if around else ends[0], ends[1])


def _in_words(name: str, assessment: Assessment, gate: Gate) -> str:
    """What was measured on a set of rows."""
    loss, increase = assessment.challenger["loss"].value, assessment.increase.get("loss")
    if increase is None:
        return f"first model, loss {loss:.5f} on {assessment.rows} {name} rows"
    if not math.isfinite(increase.value):
        return f"loss {loss:.5f} on {assessment.rows} {name} rows, the champion's is not finite"
    return (
        f"loss {loss:.5f} on {assessment.rows} {name} rows, champion"
        f" {assessment.champion['loss'].value:.5f}, increase {_shown(increase)} at"
        f" {gate.confidence:.0%}, at most {gate.max_loss_increase} allowed"
    )


def _shown(value: Interval | None) -> str:
    return "" if value is None else f"{value.value:+.5f} [{value.low:+.5f}, {value.high:+.5f}]"
