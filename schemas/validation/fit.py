"""What does not fit together: features and columns, label and task, model, gate and records."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemas.sections.check import DATED
from schemas.sections.fault import Fault
from schemas.sections.records import KINDS
from schemas.sections.store import Columns
from schemas.shared_columns import MAX_LOGITS

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline

# The types that a label of each task may have; it is read as float64.
LABELS = {
    "binary": ("float64", "float32", "int32", "int64", "bool"),
    "multiclass": ("float64", "float32", "int32", "int64"),
    "regression": ("float64", "float32", "int32", "int64"),
}


def features_exist(pipeline: "Pipeline") -> Iterator[Fault]:
    """A feature that reads nothing, or a column that cannot become what it is to be."""
    known: dict[str, Columns] = {"instances": pipeline.instances}
    known |= {view.name: view for view in pipeline.feature_views}
    names = ["instances", *(view.name for view in pipeline.feature_views)]
    for name, feature in pipeline.features.items():
        table, column = pipeline.feature_source(name)
        if names.count(table) > 1:  # told as a fault of the views
            continue
        if table not in known or column not in known[table].columns:
            there = list(known[table].columns) if table in known else list(known)
            remedy = f"add it, or name another: there is {', '.join(there) or 'none'}"
            problem = f"nothing to read at {table}.{column}"
            yield Fault(f"features.{name}.source", f"{table}.{column}", problem, remedy)
            continue
        kind = known[table].columns[column].type
        wrong = None
        if feature.kind == "number" and kind in ("string", "strings", "date"):
            wrong = f"a {kind} column cannot be a number"
        elif feature.kind == "category" and kind not in ("string", "int32", "int64"):
            wrong = f"a {kind} column cannot be a category"
        elif (feature.kind == "tensor") != (kind == "floats"):
            wrong = f"a {kind} column cannot be a {feature.kind}"
        if wrong is not None:
            remedy = f"change its kind, or the type of {table}.{column}"
            yield Fault(f"features.{name}.kind", feature.kind, wrong, remedy)


def label_fits(pipeline: "Pipeline") -> Iterator[Fault]:
    """A label column of a type that is no label of the task."""
    label = pipeline.labels.label
    kind, known = pipeline.labels.columns[label].type, LABELS[pipeline.task]
    if kind not in known:
        problem = f"a {kind} column cannot be the label of a {pipeline.task} task"
        yield Fault(
            f"labels.columns.{label}.type", kind, problem, f"make it one of {', '.join(known)}"
        )


def classes_fit(pipeline: "Pipeline") -> Iterator[Fault]:
    """Classes of a task that has none."""
    classes = pipeline.labels.classes
    if classes is not None and pipeline.task != "multiclass":
        problem = f"only of a multiclass task, not {pipeline.task}"
        yield Fault("labels.classes", classes, problem, "remove it")


def provisional_label_fits(pipeline: "Pipeline") -> Iterator[Fault]:
    """A label that stands in for others and is none of the task."""
    label, task = pipeline.selection.unmatured_label, pipeline.task
    if task == "regression":
        return
    most = 1 if task == "binary" else (pipeline.labels.classes or MAX_LOGITS) - 1
    if label not in range(most + 1):
        problem = f"no class of a {task} task, which are 0 to {most}"
        yield Fault("selection.unmatured_label", label, problem, "write one of them")


def row_weights_are_known(pipeline: "Pipeline") -> Iterator[Fault]:
    """Rows that are drawn before their label, and with it their own weight, is there."""
    weight, unmatured = pipeline.labels.weight, pipeline.selection.unmatured
    if weight is not None and unmatured != "wait":
        problem = f"a row without a label has no labels.weight = {weight!r} yet"
        remedy = 'write unmatured = "wait", or leave labels.weight out'
        yield Fault("selection.unmatured", unmatured, problem, remedy)


def model_fits(pipeline: "Pipeline") -> Iterator[Fault]:
    """A model for another task, or for other features."""
    model, task = pipeline.model, pipeline.task
    if task not in model.tasks:
        problem = f"{model.name!r} is for {' and '.join(model.tasks)} tasks, not {task}"
        yield Fault("model.name", model.name, problem, "choose another model")
    images = [f for f in pipeline.features.values() if len(f.shape or ()) == 3]
    if model.name == "convolutional" and len(images) != 1:
        problem = (
            "'convolutional' needs one tensor feature of shape (channels, height, width), the file"
            f" has {len(images)}"
        )
        yield Fault("model.name", model.name, problem, "add or remove features, or choose another")


def strata_are_segments(pipeline: "Pipeline") -> Iterator[Fault]:
    """Strata of a key that no record has."""
    strata = pipeline.selection.strata
    if strata is not None and strata.segment not in pipeline.instances.segments:
        known = ", ".join(pipeline.instances.segments) or "none"
        problem = f"{strata.segment!r} is not in instances.segments, which has {known}"
        remedy = "add it there, or name another"
        yield Fault("selection.strata.segment", strata.segment, problem, remedy)


def gate_can_judge(pipeline: "Pipeline") -> Iterator[Fault]:
    """A limit on what the task or the records do not have."""
    gap, segment = pipeline.gate.max_calibration_gap, pipeline.gate.max_segment_loss_increase
    if gap is not None and pipeline.task == "regression":
        problem = "a regression predicts no probabilities"
        yield Fault("gate.max_calibration_gap", gap, problem, "remove it")
    if segment is not None and not pipeline.instances.segments:
        problem, remedy = "instances.segments names no segment", "name one there, or remove it"
        yield Fault("gate.max_segment_loss_increase", segment, problem, remedy)


def monitor_can_judge(pipeline: "Pipeline") -> Iterator[Fault]:
    """Limits on what the predictions of a regression do not say."""
    if pipeline.task != "regression":
        return
    no_loss = "a regression's predictions expect no loss"
    no_chance = "a regression predicts no probabilities"
    for field, value, problem in (
        ("monitor.max_loss_gap", pipeline.monitor.max_loss_gap, no_loss),
        ("monitor.max_calibration_gap", pipeline.monitor.max_calibration_gap, no_chance),
        ("schedule.max_calibration_gap", pipeline.schedule.max_calibration_gap, no_chance),
    ):
        if value is not None:
            yield Fault(field, value, problem, "remove it")


def log_fits(pipeline: "Pipeline") -> Iterator[Fault]:
    """A log whose predictions or segment keys are not what the pipeline records."""
    records = pipeline.log
    if records is None:
        return
    kinds, kind = KINDS[pipeline.task], records.prediction.kind
    if kind not in kinds:
        problem = f"{kind!r} is not what a {pipeline.task} task records"
        yield Fault("records.prediction.kind", kind, problem, f"use {' or '.join(kinds)}")
    mapped, declared = len(records.segments), len(pipeline.instances.segments)
    if mapped != declared:
        problem = f"{mapped} columns for the {declared} of instances.segments"
        remedy = "name one column for each of them, in their order"
        yield Fault("records.segments", records.segments, problem, remedy)


def checked_tables_exist(pipeline: "Pipeline") -> Iterator[Fault]:
    """A limit on the freshness of a table that is not there."""
    known = [*DATED, *(view.name for view in pipeline.feature_views)]
    for name, limit in pipeline.check.freshness.items():
        if name not in known:
            remedy = f"use one of {', '.join(known)}"
            yield Fault(f"check.freshness.{name}", limit, "no such table", remedy)
