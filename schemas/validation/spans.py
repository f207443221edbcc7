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
    labels, window = pipeline.labels, pipeline.selection.window_days
    if labels.maturity == "window" and pipeline.task != "binary":
        problem = f"'window' needs a binary task, not {pipeline.task}"
        yield Fault("labels.maturity", labels.maturity, problem, "use 'arrival' or 'delay'")
    after = labels.after
    if after is not None and parse_duration(after) >= timedelta(days=window):
        problem = f"no record of selection.window_days = {window} is {after} old"
        yield Fault("labels.after", after, problem, "shorten it, or widen the window")


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
