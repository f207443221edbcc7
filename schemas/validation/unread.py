"""Settings of a file that nothing will read: what they were meant to do would not be done.

Of the file as it is: an option of the command line may well leave one without effect.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemas.sections.fault import Fault
from schemas.sections.section import Section
from schemas.shared_columns import MAX_LOGITS

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline


def _given(section: Section, *names: str) -> Iterator[tuple[str, object]]:
    """Those of the settings that the file gives, with their values."""
    yield from (
        (name, getattr(section, name)) for name in names if name in section.model_fields_set
    )


def loss_is_read(pipeline: "Pipeline") -> Iterator[Fault]:
    """A loss of another task, or the width of another loss."""
    training = pipeline.training
    if pipeline.task != "regression":
        for name, value in _given(training, "loss", "huber_delta"):
            problem = f"a {pipeline.task} task is fitted by cross-entropy, so nothing reads it"
            yield Fault(f"training.{name}", value, problem, "remove it")
    elif training.loss != "huber":
        for name, value in _given(training, "huber_delta"):
            problem = f"nothing reads it where loss is {training.loss!r}"
            yield Fault(f"training.{name}", value, problem, 'remove it, or write loss = "huber"')


def optimizer_is_read(pipeline: "Pipeline") -> Iterator[Fault]:
    """Momentum of an optimizer that has none."""
    training = pipeline.training
    if training.optimizer != "sgd":
        for name, value in _given(training, "momentum"):
            problem = f"nothing reads it where optimizer is {training.optimizer!r}"
            yield Fault(f"training.{name}", value, problem, 'remove it, or write optimizer = "sgd"')


def validation_is_read(pipeline: "Pipeline") -> Iterator[Fault]:
    """A share that is held back for nothing."""
    if pipeline.training.patience is None:
        for name, value in _given(pipeline.training, "validation"):
            problem = "nothing reads it without training.patience"
            yield Fault(f"training.{name}", value, problem, "remove it, or give patience")


def parent_is_read(pipeline: "Pipeline") -> Iterator[Fault]:
    """What is taken from a parent, where there is none."""
    training = pipeline.training
    if training.warm_start:
        return
    for name, value in _given(training, "pull", "carry_optimizer", "record_step"):
        if value:  # 0 and false say what happens anyway
            problem = "nothing reads it with warm_start = false"
            yield Fault(f"training.{name}", value, problem, "remove it, or write warm_start = true")


def record_step_is_read(pipeline: "Pipeline") -> Iterator[Fault]:
    """A step that no refresh would have, or no network of ours would take."""
    training, classes = pipeline.training, pipeline.labels.classes or 1
    for name, value in _given(training, "record_step"):
        if not value:
            continue
        if pipeline.model.own:
            problem = "a model of your own takes no such step"
        elif training.loss == "absolute":
            problem = "an absolute loss has no second derivative"
        elif classes > MAX_LOGITS:
            problem = f"records of more than {MAX_LOGITS} classes, here {classes}, do not give it"
        else:
            continue
        yield Fault(f"training.{name}", value, problem, "remove it")


def provisional_label_is_read(pipeline: "Pipeline") -> Iterator[Fault]:
    """What stands in for a label, where records wait for theirs."""
    selection = pipeline.selection
    reads = {
        "unmatured_label": ("expected-score", "down-weight"),
        "unmatured_weight": ("down-weight",),
    }
    for name, value in _given(selection, *reads):
        if selection.unmatured not in reads[name]:
            problem = f"nothing reads it where unmatured is {selection.unmatured!r}"
            remedy = f"remove it, or write unmatured = {' or '.join(map(repr, reads[name]))}"
            yield Fault(f"selection.{name}", value, problem, remedy)


def strata_are_read(pipeline: "Pipeline") -> Iterator[Fault]:
    """Strata that guarantee nothing."""
    strata = pipeline.selection.strata
    if strata is not None and not (strata.min_count or strata.min_share):
        problem = f"of {strata.segment!r} neither min_count nor min_share is above 0"
        yield Fault("selection.strata", strata.segment, problem, "give one of them, or remove it")


def features_are_read(pipeline: "Pipeline") -> Iterator[Fault]:
    """Buckets of what is no category, a default of what is one."""
    for name, feature in pipeline.features.items():
        unread = "default" if feature.kind == "category" else "buckets"
        for setting, value in _given(feature, unread):
            problem = f"nothing reads it of a {feature.kind}"
            yield Fault(f"features.{name}.{setting}", value, problem, "remove it")


def conditions_are_read(pipeline: "Pipeline") -> Iterator[Fault]:
    """Conditions of a refresh that every day has already, or that nobody would measure."""
    schedule = pipeline.schedule
    if "monitor" not in pipeline.model_fields_set:
        for name, value in _given(schedule, "max_loss", "max_calibration_gap"):
            problem = "without [monitor] the DAG measures nothing of what was served"
            remedy = "write [monitor], which may be empty, or remove it"
            yield Fault(f"schedule.{name}", value, problem, remedy)
    if schedule.days == 1:
        others = ("new_records", "drift", "max_loss", "max_calibration_gap")
        for name, value in _given(schedule, *others):
            problem = "nothing reads it with days = 1, by which every day is due"
            yield Fault(f"schedule.{name}", value, problem, "remove it, or raise days")
