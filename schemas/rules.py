"""What makes a record or a label unusable: every rule once, as data.

A rule is a reason and the tests that give it; a row has the reason of the first rule of which one
test holds. `schemas.arrow_rules` reads the tests in Arrow, for the recorder and `due`,
`spark_jobs.candidates.rejects` as Spark's columns, for the scoring job, the import and selection.
A test is true or false of every row: of a null, only `Empty`, `Absent` and `AbsentBeside` are true.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple

from schemas import reasons
from schemas.columns import CHANCE, FINITE
from schemas.pipeline import Pipeline, Task
from schemas.shared_columns import MAX_LOGITS
from schemas.statistics import CLASSES
from schemas.tables import forward_records


class Empty(NamedTuple):
    """The string is null or empty."""

    column: str


class Absent(NamedTuple):
    """Every one of the columns is null."""

    columns: tuple[str, ...]


class AbsentBeside(NamedTuple):
    """The column is null where the column `other` is not."""

    column: str
    other: str


class Outside(NamedTuple):
    """The number is below `least` or above `most`, or NaN."""

    column: str
    least: float
    most: float


class HoldsOutside(NamedTuple):
    """The list holds a number below `least` or above `most`, NaN, or a null."""

    column: str
    least: float
    most: float


class Fractional(NamedTuple):
    """The number, which is inside a range, is not a whole one."""

    column: str


class LengthOutside(NamedTuple):
    """The list has fewer than `least` entries or more than `most`."""

    column: str
    least: int
    most: int


class EntryOtherThan(NamedTuple):
    """The list's entry at `place`, where it has one, is not `value`."""

    column: str
    place: int
    value: float


class Later(NamedTuple):
    """The moment is more than `by` after that of the column `than`."""

    column: str
    than: str
    by: timedelta


class NotAmong(NamedTuple):
    """The string is none of `values`."""

    column: str
    values: tuple[str, ...]


Test = (
    Empty
    | Absent
    | AbsentBeside
    | Outside
    | HoldsOutside
    | Fractional
    | LengthOutside
    | EntryOtherThan
    | Later
    | NotAmong
)


class Rule(NamedTuple):
    """A row of which one of the tests holds cannot be used, for this reason."""

    reason: str
    tests: tuple[Test, ...]


class Rules(NamedTuple):
    """The rules of one pipeline, in the order in which they are tried; without any, all will do."""

    record: tuple[Rule, ...] = ()  # of a row of `forward_records`
    label: tuple[
        Rule, ...
    ] = ()  # of a row with the column `label`, and `row_weight` if there is one


_NO_ROW_WEIGHT = Rule(
    reasons.BAD_WEIGHT,
    (AbsentBeside("row_weight", "label"), Outside("row_weight", 0.0, FINITE.most)),
)
# The least and the largest length of each list of numbers.
_LENGTHS = {
    column.name: column.lengths
    for column in forward_records().columns
    if column.lengths is not None
}


def rules_of(
    pipeline: Pipeline,
    versions: Collection[str] | None = None,
    *,
    probabilities: bool = False,
    any_segments: bool = False,
) -> Rules:
    """The rules of a pipeline's records and labels; `rules_for` says what the others mean.
    any_segments: whether records of another definition of the segments count too."""
    return rules_for(
        pipeline.task,
        segments=None if any_segments else len(pipeline.instances.segments),
        versions=versions,
        classes=pipeline.labels.classes,
        probabilities=probabilities,
        weighted=pipeline.labels.weight is not None,
    )


def rules_for(
    task: Task,
    *,
    segments: int | None,
    versions: Collection[str] | None = None,
    classes: int | None = None,
    probabilities: bool = False,
    weighted: bool = False,
) -> Rules:
    """The rules of records and labels of a task.

    segments: keys of each record; None for any. versions: models that the registry has; None for
    any. classes: that the pipeline file declares. probabilities: whether a column `probability`
    may stand in for the prediction, before a logit is made of it. weighted: whether a label comes
    with a `row_weight`.
    """
    given = ("prediction", "probability") if probabilities else ("prediction",)
    numbers = (*given, "label")
    tests: dict[str, tuple[Test, ...]] = {
        reasons.MISSING: (Absent(("event_time",)), Empty("instance_id"), Empty("model_version")),
        reasons.NOT_FINITE: (
            *(Outside(name, FINITE.least, FINITE.most) for name in numbers),
            *(HoldsOutside(name, FINITE.least, FINITE.most) for name in _LENGTHS),
        ),
        reasons.NO_PREDICTION: (
            Absent(("logits", "statistics") if task == "multiclass" else given),
        ),
        reasons.WRONG_ARITY: _other_lengths(task, segments, classes),
        reasons.NOT_A_PROBABILITY: (Outside("probability", 0.0, 1.0),) if probabilities else (),
        reasons.NOT_A_PROPENSITY: (Outside("propensity", CHANCE.least, CHANCE.most),),
        reasons.FUTURE_EVENT: (Later("event_time", "recorded_at", reasons.CLOCK_SKEW),),
        reasons.UNKNOWN_MODEL: (
            () if versions is None else (NotAmong("model_version", tuple(sorted(versions))),)
        ),
    }
    record = tuple(Rule(reason, any_of) for reason, any_of in tests.items() if any_of)
    label = (Rule(reasons.BAD_LABEL, _no_label(task, classes)),)
    return Rules(record, (*label, _NO_ROW_WEIGHT) if weighted else label)


def _other_lengths(task: Task, segments: int | None, classes: int | None) -> tuple[Test, ...]:
    """Lists of other lengths than the table, the task and the pipeline file have."""
    tests: list[Test] = [LengthOutside(name, *lengths) for name, lengths in _LENGTHS.items()]
    if task == "multiclass":
        tests.append(LengthOutside("logits", 2, MAX_LOGITS))
    if classes is not None:
        tests.append(LengthOutside("logits", classes, classes))
        tests.append(EntryOtherThan("statistics", CLASSES, classes))
    if segments is not None:
        tests.append(LengthOutside("segments", segments, segments))
    return (*tests, Absent(("segments",)))


def _no_label(task: Task, classes: int | None) -> tuple[Test, ...]:
    """Numbers that are no label of the task."""
    match task:
        case "binary":
            return Outside("label", 0.0, 1.0), Fractional("label")
        case "multiclass":
            return Outside("label", 0.0, (classes or MAX_LOGITS) - 1.0), Fractional("label")
        case "regression":
            return (Outside("label", FINITE.least, FINITE.most),)
