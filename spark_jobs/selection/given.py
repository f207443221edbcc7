"""What `draw` is given, as candidates: a table of rows that the rules of records accept."""

from datetime import UTC, datetime
from typing import Any, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow_rules import first_fault
from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import Task
from schemas.rules import (
    Absent,
    AbsentBeside,
    Empty,
    EntryOtherThan,
    Fractional,
    HoldsOutside,
    Later,
    LengthOutside,
    Outside,
    Rule,
    Test,
    rules_for,
)
from schemas.statistics import CLASSES
from spark_jobs.selection.columns import holds
from spark_jobs.selection.from_arrow import infer_task

_MOMENT = pa.timestamp("us", tz="UTC")
_NUMBERS = pa.list_(pa.float64())
# The columns that a draw reads, each with the type that it is read as; the first is kept as it is.
_TYPES: dict[str, pa.DataType] = {
    "instance_id": pa.string(),
    "prediction": pa.float64(),
    "logits": _NUMBERS,
    "statistics": _NUMBERS,
    "label": pa.float64(),
    "model_version": pa.string(),
    "event_time": _MOMENT,
    "segments": pa.list_(pa.string()),
    "sketch": _NUMBERS,
    "propensity": pa.float64(),
    "row_weight": pa.float64(),
}
_SHOWN = 80  # characters of a value


def table_of(records: Any) -> pa.Table:
    """A pyarrow table, a record batch or a pandas DataFrame as a table. ConfigurationError else."""
    if isinstance(records, pa.Table):
        return records
    if isinstance(records, pa.RecordBatch):
        return pa.Table.from_batches([records])
    if hasattr(records, "columns"):
        try:
            return pa.Table.from_pandas(records, preserve_index=False)
        except (pa.ArrowException, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"records = a {type(records).__name__}: {error}. Remedy: give columns of one type"
                " each, in a pyarrow.Table or a pandas DataFrame."
            ) from error
    raise ConfigurationError(
        f"records = a {type(records).__name__}: neither a pyarrow.Table nor a pandas DataFrame."
        " Remedy: give one of these."
    )


def candidates_of(given: pa.Table, task: str | None, policy: str) -> tuple[pa.Table, str]:
    """The columns that a draw reads, of rows that can all be used, and the task.

    task: None for what logits and labels tell; policy: its name, for messages. Raises
    ConfigurationError for columns that are not there, and DataQualityError, with the column, a
    value and the remedy, for rows that would be rejects in the warehouse.
    """
    if task is not None and task not in get_args(Task):
        known = ", ".join(get_args(Task))
        raise ConfigurationError(f"task = {task!r}: unknown. Remedy: choose one of {known}.")
    _require_columns(given, task, policy)
    candidates = pa.table(
        {name: _read(given, name) for name in _TYPES if name in given.schema.names}
    )
    if pc.count_distinct(given["instance_id"]).as_py() + given["instance_id"].null_count < (
        given.num_rows
    ):
        raise DataQualityError(
            "records: an instance_id occurs twice. Remedy: keep the newest record of each."
        )
    task = task or infer_task(candidates)
    _require_usable(_as_records(given, candidates), task, "row_weight" in given.schema.names)
    return candidates, task


def _require_columns(given: pa.Table, task: str | None, policy: str) -> None:
    """Refuse what lacks a column, naming all that the task needs."""
    there = set(given.schema.names)
    outputs = {"multiclass": ("logits", "statistics")}.get(task or "", ("prediction",))
    if task is None and there & {"logits", "statistics"}:
        outputs = ("logits", "statistics")
    needed = (("instance_id",), outputs, ("label",))
    missing = next((names for names in needed if not there & set(names)), None)
    if missing is None:
        return
    remedies = {
        "label": "join labels to the records",
        "prediction": "add the logit of a binary model, log(p / (1 - p)) of a probability p, or the"
        " value of a regression; or logits, of a multiclass model",
    }
    raise ConfigurationError(
        f"records lack the column {' or '.join(map(repr, missing))}. For the policy {policy!r}"
        f"{f' and the task {task!r}' if task else ''}, draw needs instance_id,"
        f" {' or '.join(outputs)}, and label; it reads model_version, event_time, segments (which"
        " strata need), sketch, propensity and row_weight where they are there."
        f" Remedy: {remedies.get(missing[0], 'add it')}."
    )


def _read(given: pa.Table, name: str) -> pa.ChunkedArray:
    """A column as the selection reads it; ids stay as they are, whose hash depends on the type."""
    column, wanted = given[name], _TYPES[name]
    ready = (pa.list_(pa.float32()), _NUMBERS) if wanted == _NUMBERS else (wanted,)
    if name == "instance_id" or column.type in ready:
        return column
    try:
        return pc.cast(column, wanted, safe=wanted != _MOMENT)  # nanoseconds lose their last digits
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataQualityError(
            f"records: column {name} is {column.type}, which cannot be read as {wanted}: {error}."
            f" Remedy: give it as {wanted}."
        ) from error


def _as_records(given: pa.Table, candidates: pa.Table) -> pa.Table:
    """The candidates as rows of `forward_records`: what draw does without is filled in."""
    n = given.num_rows
    nulls = {name: pa.nulls(n, kind) for name, kind in _TYPES.items()}
    long_ago = pa.repeat(pa.scalar(datetime(1970, 1, 1, tzinfo=UTC), _MOMENT), n)
    no_keys = pa.ListArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), n + 1), pa.array([], pa.string())
    )
    filled = nulls | {
        "model_version": pa.repeat("any", n),
        "event_time": long_ago,
        "segments": no_keys,
    }
    present = {
        name: candidates[name]
        for name in candidates.schema.names
        if not pa.types.is_null(given[name].type)
    }
    rows = filled | present | {"instance_id": pc.cast(given["instance_id"], pa.string())}
    if "recorded_at" in given.schema.names:
        recorded = pc.cast(given["recorded_at"], _MOMENT, safe=False)
    else:
        recorded = rows["event_time"]
    if holds(candidates, "statistics"):  # which are what is read where both are there
        rows["logits"] = nulls["logits"]
    return pa.table(rows | {"recorded_at": recorded})


def _require_usable(rows: pa.Table, task: str, weighted: bool) -> None:
    if task != "multiclass" and (holds(rows, "logits") or holds(rows, "statistics")):
        raise ConfigurationError(
            f"records have logits, and the task is {task!r}. Remedy: drop the columns logits and"
            ' statistics, or write task = "multiclass".'
        )
    if rows.num_rows == 0:
        return
    tests = _tests(rows, task, weighted)
    found = first_fault(rows, [Rule(str(place), (test,)) for place, test in enumerate(tests)])
    if found.null_count == rows.num_rows:
        return
    place = found.drop_null()[0].as_py()
    count = pc.sum(pc.equal(found, place)).as_py()
    column, why = _words(tests[int(place)])
    first = rows.slice(pc.index(found, place).as_py(), 1).select(["instance_id", column])
    shown = {name: _short(value) for name, value in first.to_pylist()[0].items()}
    raise DataQualityError(
        f"records: {column} {why} in {count} of {rows.num_rows} rows, first {shown}."
        " Remedy: correct these rows or leave them out, as the warehouse does, where such records"
        f" and labels are rejects; or name another task than {task!r}, if that is what is wrong."
    )


def _tests(rows: pa.Table, task: str, weighted: bool) -> list[Test]:
    """The tests of `rules_for`, but lists may have any length if all have the same: a draw takes
    the logits of more than 16 classes and wider sketches than the table."""
    widths = {name: _first_length(rows, name) for name in ("logits", "sketch", "segments")}
    classes = None
    if task == "multiclass":
        classes = widths["logits"] or _first_classes(rows)
    rules = rules_for(
        cast(Task, task), segments=widths["segments"] or 0, classes=classes, weighted=weighted
    )
    tests = [test for rule in (*rules.record, *rules.label) for test in rule.tests]
    same = [
        LengthOutside(name, max(width, 2 if name == "logits" else 1), width)
        for name, width in widths.items()
        if name != "segments" and width is not None
    ]
    limits = {("logits", True), ("sketch", True)}
    others = [
        test
        for test in tests
        if (getattr(test, "column", None), isinstance(test, LengthOutside)) not in limits
    ]
    return [*others, *same, Absent(("label",))]


def _first_length(rows: pa.Table, name: str) -> int | None:
    """Entries of the first list of a column; None where there is none."""
    lengths = pc.list_value_length(rows[name]).drop_null()
    return lengths[0].as_py() if len(lengths) else None


def _first_classes(rows: pa.Table) -> int | None:
    """Classes of the first statistics, if they are any."""
    first = rows["statistics"].drop_null()[:1].to_pylist()
    value = first[0][CLASSES] if first and len(first[0]) > CLASSES else None
    return int(value) if value is not None and np.isfinite(value) and value >= 1 else None


def _words(test: Test) -> tuple[str, str]:
    """The column that a test looks at, and what is wrong where it holds."""
    match test:
        case Empty(column):
            return column, "is null or empty"
        case Absent(columns):
            return columns[0], "is null"
        case AbsentBeside(column, other):
            return column, f"is null beside a {other}"
        case Outside(column, least, most):
            return column, f"is not from {least:g} to {most:g}"
        case HoldsOutside(column, least, most):
            return column, f"holds a null, or what is not from {least:g} to {most:g},"
        case Fractional(column):
            return column, "is not a whole number"
        case LengthOutside(column, least, most):
            many = f"{least}" if least == most else f"{least} to {most}"
            return column, f"has not {many} entries, as it should or as the first record has,"
        case EntryOtherThan(column, place, value):
            return column, f"has not {value:g} at place {place}, as the first record has,"
        case Later(column, than, by):
            return column, f"is more than {by} after {than}"
        case _:
            return test.column, "is not among those that are known"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
