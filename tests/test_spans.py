"""Spans of time, and who measures in them: settings that leave one another nothing."""

from pathlib import Path

import pytest

from tests.helpers.mistakes import FLIGHTS, cases, faults, require_one_fault, selection, training

LABEL = 'label = "late"'
ELSEWHERE = '[instances]\npath = "/lake/requests"'


def window(*lines: str) -> tuple[str, str]:
    """An attribution window of a day, and more lines of [labels]."""
    return LABEL, "\n".join([LABEL, 'maturity = "window"', 'after = "1d"', *lines])


def keep(*lines: str) -> tuple[str, str]:
    """[maintenance.keep]."""
    return "[gate]", "\n".join(["[maintenance.keep]", *lines, "[gate]"])


SPANS = {
    "labels.after: no forward day": (
        FLIGHTS,
        [
            (LABEL, f'{LABEL}\nmaturity = "delay"\nafter = "7d"'),
            selection("forward_days = 3"),
            training("pulls = [0.0, 0.1]"),
        ],
        "no record of selection.forward_days = 3 is 7d old",
    ),
    "labels.known_after: no day of the window": (
        FLIGHTS,
        [(LABEL, f'{LABEL}\npath = "/lake/labels"\nknown_after = "40d"')],
        "no record of selection.window_days = 28 is 40d old",
    ),
    "labels.known_after: when absent ones are negatives": (
        FLIGHTS,
        [window('path = "/lake/labels"', 'known_after = "2d"')],
        "is longer than labels.after = '1d', when all count as negatives",
    ),
    "selection.unmatured": (
        FLIGHTS,
        [window(), selection('unmatured = "expected-score"')],
        "it would stand in for positives that are known",
    ),
    "maintenance.keep.labels: of a window": (
        FLIGHTS,
        [window(), keep('labels = "60d"')],
        "an instance whose label has expired is a negative",
    ),
    "maintenance.keep.labels: less than instances": (
        FLIGHTS,
        [window(), keep('labels = "60d"', 'instances = "61d"')],
        "keep instances no longer",
    ),
    "maintenance.keep.instances: elsewhere": (
        FLIGHTS,
        [("[instances]", ELSEWHERE), keep('instances = "400d"')],
        "[instances] is of a table elsewhere",
    ),
    "schedule.max_loss": (
        FLIGHTS,
        [("days = 7", "days = 7\nmax_loss = 0.5")],
        "without [monitor] the DAG measures nothing of what was served",
    ),
}


@pytest.mark.parametrize(("file", "changes", "field", "words"), cases(SPANS))
def test_law_7_what_would_leave_nothing_is_one_fault(
    tmp_path: Path, file: Path, changes: list[tuple[str, str]], field: str, words: str
) -> None:
    require_one_fault(faults(tmp_path, file, *changes), field, words)


@pytest.mark.parametrize(
    "changes",
    [
        [window(), keep('labels = "60d"', 'instances = "60d"')],
        [keep('labels = "60d"')],  # without a window a label that has expired is none
        [(LABEL, f'{LABEL}\nmaturity = "delay"\nafter = "2d"'), selection("forward_days = 3")],
        [("days = 7", "days = 7\nmax_loss = 0.5"), ("[gate]", "[monitor]\n[gate]")],
    ],
)
def test_spans_that_leave_each_other_room_are_taken(
    tmp_path: Path, changes: list[tuple[str, str]]
) -> None:
    assert faults(tmp_path, FLIGHTS, *changes) == []
