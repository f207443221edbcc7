"""Rows of the journal: which of them cannot be used, and the others as `forward_records`."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import reasons
from schemas.pipeline import Pipeline
from schemas.sections.records import CLOSEST
from schemas.statistics import CLASSES, WIDTH
from schemas.tables import MAX_LOGITS, SKETCH_WIDTH, forward_records

LARGEST = 1e30

_MADE_LATER = ("event_date", "batch_id")
_SCHEMA = pa.schema(
    [
        field.with_nullable(True)
        for field in forward_records().arrow_schema
        if field.name not in _MADE_LATER
    ]
)
# What a row of the journal is; `probability` is what came, where no logit did.
ROW = _SCHEMA.append(pa.field("probability", pa.float64()))


def faults(rows: pa.Table, pipeline: Pipeline) -> pa.Array:
    """The first reason why each row cannot be used, null where it can.

    As `spark_jobs.candidates.rejects` has it.
    """
    many = pipeline.task == "multiclass"
    outputs = pc.or_(pc.is_valid(rows["logits"]), pc.is_valid(rows["statistics"]))
    given = pc.coalesce(rows["prediction"], rows["probability"])
    latest = pc.add(rows["recorded_at"], pa.scalar(reasons.CLOCK_SKEW))
    wrong = {
        reasons.MISSING: pc.or_(
            pc.is_null(rows["event_time"]),
            pc.or_(_empty(rows["instance_id"]), _empty(rows["model_version"])),
        ),
        reasons.NOT_FINITE: _any(
            *(pc.invert(_finite(rows[name])) for name in ("prediction", "probability", "label")),
            *(pc.invert(_all_finite(rows[name])) for name in ("logits", "statistics", "sketch")),
        ),
        reasons.NO_PREDICTION: pc.invert(outputs) if many else pc.is_null(given),
        reasons.WRONG_ARITY: _any(
            _length(rows["logits"], 2 if many else 0, MAX_LOGITS),
            _length(rows["statistics"], WIDTH, WIDTH),
            _other_classes(rows, pipeline.labels.classes),
            _length(rows["sketch"], 1, SKETCH_WIDTH),
        ),
        reasons.NOT_A_PROBABILITY: _any(
            pc.less(rows["probability"], 0.0), pc.greater(rows["probability"], 1.0)
        ),
        reasons.FUTURE_EVENT: pc.greater(rows["event_time"], latest),
    }
    conditions = [pc.fill_null(condition, False) for condition in wrong.values()]
    cases = pc.make_struct(*(_whole(one) for one in conditions), field_names=list(wrong))
    return _whole(pc.case_when(cases, *(pa.scalar(name) for name in wrong)))


def _other_classes(rows: pa.Table, declared: int | None) -> Any:
    """Whether a model answered for another number of classes than the pipeline file declares."""
    if declared is None:
        return pa.array(np.zeros(rows.num_rows, np.bool_))
    given = pc.list_value_length(rows["logits"])
    if rows["statistics"].null_count < rows.num_rows:
        given = pc.cast(pc.list_element(rows["statistics"], CLASSES), pa.int32())
    return pc.not_equal(given, declared)


def usable(rows: pa.Table, batch_id: str) -> pa.Table:
    """Rows without a fault in the columns of `forward_records`."""
    p = pc.min_element_wise(pc.max_element_wise(rows["probability"], CLOSEST), 1 - CLOSEST)
    logit = pc.ln(pc.divide(p, pc.subtract(1.0, p)))
    made = {
        "prediction": pc.if_else(pc.is_null(rows["probability"]), rows["prediction"], logit),
        "event_date": pc.cast(rows["event_time"], pa.date32()),
        "batch_id": pa.repeat(batch_id, rows.num_rows),
    }
    schema = forward_records().arrow_schema
    return pa.table([made.get(name, _column(rows, name)) for name in schema.names], schema=schema)


def _column(rows: pa.Table, name: str) -> Any:
    return rows[name] if name in rows.column_names else None


def _whole(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _empty(names: Any) -> Any:
    return pc.equal(pc.fill_null(names, ""), "")


def _any(*conditions: Any) -> Any:
    found = pc.fill_null(conditions[0], False)
    for condition in conditions[1:]:
        found = pc.or_(found, pc.fill_null(condition, False))
    return found


def _finite(column: Any) -> Any:
    """True where a number is null or finite and not beyond 1e30."""
    return pc.fill_null(pc.less_equal(pc.abs(column), LARGEST), True)


def _all_finite(lists: Any) -> Any:
    whole = _whole(lists)
    bad = pc.invert(pc.less_equal(pc.abs(whole.flatten()), LARGEST))
    owner = np.asarray(pc.list_parent_indices(whole))[np.asarray(bad)]
    good = np.ones(len(whole), np.bool_)
    good[owner] = False
    return pa.array(good)


def _length(lists: Any, least: int, most: int) -> Any:
    length = pc.list_value_length(lists)
    return pc.or_(pc.less(length, least), pc.greater(length, most))
