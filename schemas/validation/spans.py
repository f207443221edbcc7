"""Spans of time that leave another one nothing."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from schemas.sections.fault import Fault
from schemas.sections.section import parse_duration

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline


def forward_days_fit(pipeline: "Pipeline") -> Iterator[Fault]:
    """Forward days that take the whole window, or pulls without any to choose them by."""
    selection, training = pipeline.selection, pipeline.training
    forward, window = selection.forward_days, selection.window_days
    if forward >= window:
        problem = f"{forward} of selection.window_days = {window} leave no day to draw from"
        yield Fault("selection.forward_days", forward, problem, "lower it, or widen the window")
    if training.pulls and not (forward and training.warm_start):
        problem = "to choose by forward rows, they and a parent must be there"
        remedy = "write selection.forward_days = 1 or more and training.warm_start = true"
        yield Fault("training.pulls", training.pulls, problem, remedy)


def labels_mature(pipeline: "Pipeline") -> Iterator[Fault]:
    """A rule by which no label of the window would count."""
    labels, selection = pipeline.labels, pipeline.selection
    window, forward = selection.window_days, selection.forward_days
    if labels.maturity == "window" and pipeline.task != "binary":
        problem = f"'window' needs a binary task, not {pipeline.task}"
        yield Fault("labels.maturity", labels.maturity, problem, "use 'arrival' or 'delay'")
    for name, age in (("after", labels.after), ("known_after", labels.known_after)):
        if age is None:
            continue
        if parse_duration(age) >= timedelta(days=window):
            problem = f"no record of selection.window_days = {window} is {age} old"
            yield Fault(f"labels.{name}", age, problem, "shorten it, or widen the window")
        elif forward and parse_duration(age) >= timedelta(days=forward):
            problem = (
                f"no record of selection.forward_days = {forward} is {age} old, and none of them"
                " has a label to judge by"
            )
            yield Fault(f"labels.{name}", age, problem, "shorten it, or raise forward_days")


def absent_labels_are_negatives(pipeline: "Pipeline") -> Iterator[Fault]:
    """Labels that are absent for another reason than that nothing came."""
    labels, keep = pipeline.labels, pipeline.maintenance.keep
    if labels.maturity != "window" or labels.after is None:
        return
    unmatured = pipeline.selection.unmatured
    if unmatured != "wait":
        problem = "with labels.maturity = 'window' it would stand in for positives that are known"
        yield Fault("selection.unmatured", unmatured, problem, 'write "wait"')
    late, over = labels.known_after, parse_duration(labels.after)
    if late is not None and parse_duration(late) > over:
        problem = f"is longer than labels.after = {labels.after!r}, when all count as negatives"
        yield Fault("labels.known_after", late, problem, "write no more than labels.after")
    if keep.labels is None or labels.is_foreign:
        return
    longest = keep.instances
    if longest is None or parse_duration(longest) > parse_duration(keep.labels):
        problem = (
            "with labels.maturity = 'window' an instance whose label has expired is a negative"
        )
        remedy = "remove it, or keep instances no longer, by maintenance.keep.instances"
        yield Fault("maintenance.keep.labels", keep.labels, problem, remedy)


def windows_are_kept(pipeline: "Pipeline") -> Iterator[Fault]:
    """Rows that would expire while a window still needs them."""
    window = pipeline.selection.window_days
    for name, kept in pipeline.maintenance.keep.model_dump().items():
        if kept is not None and parse_duration(kept).days <= window:
            problem = (
                f"{kept!r} would take rows out of the window of selection.window_days = {window}"
            )
            remedy = f'write more than "{window}d"'
            yield Fault(f"maintenance.keep.{name}", kept, problem, remedy)
