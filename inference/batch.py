"""Arrays of a request as rows of `forward_records`, and which of them cannot be used."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas import reasons
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from schemas.records import CLOSEST, KINDS
from schemas.statistics import CLASSES, WIDTH, statistics
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


def rows_of(
    pipeline: Pipeline,
    ids: Any,
    event_times: Any,
    predictions: Any,
    *,
    model_version: str,
    kind: str | None = None,
    labels: Any = None,
    segments: Mapping[str, Sequence[str | None]] | None = None,
    sketch: Any = None,
    now: datetime,
) -> pa.RecordBatch:
    """One request as rows of the journal, its values not yet looked at.

    Raises ConfigurationError where the arrays do not belong together: another length, a segment
    that the pipeline does not declare, a prediction of another kind than the task has.
    """
    kind = kind or KINDS[pipeline.task][-1]
    if kind not in KINDS[pipeline.task]:
        known = " or ".join(KINDS[pipeline.task])
        raise ConfigurationError(
            f"kind = {kind!r}: a {pipeline.task} pipeline records {known}. Remedy: say which."
        )
    names = pa.array([str(one) for one in _array(ids).tolist()], pa.string())
    n = len(names)
    prediction = _array(predictions).astype(np.float64, copy=False)
    many = kind == "logits"
    if prediction.ndim != 1 + many:
        raise ConfigurationError(
            f"predictions: {prediction.ndim} dimensions. Remedy: give"
            f" {'(n, classes)' if many else '(n,)'} {kind} values for n ids."
        )
    nothing = pa.nulls(n, pa.float64())
    columns = {
        "instance_id": names,
        "event_time": _moments(event_times),
        "model_version": pa.repeat(model_version, n),
        "recorded_at": pa.repeat(pa.scalar(now, pa.timestamp("us", tz="UTC")), n),
        **prediction_columns(prediction),
        "label": nothing if labels is None else _labels(labels),
        "loss": nothing,
        "segments": _segments(pipeline, segments, n),
        "sketch": _lists(_array(sketch), n) if sketch is not None else pa.nulls(n, _FLOATS),
        "probability": nothing,
    }
    if kind == "probability":
        columns |= {"prediction": nothing, "probability": columns["prediction"]}
    wrong = {name: len(column) for name, column in columns.items() if len(column) != n}
    if prediction.shape[0] != n:
        wrong["predictions"] = prediction.shape[0]
    if wrong:
        raise ConfigurationError(
            f"{wrong} rows for {n} ids. Remedy: give every array one entry an id, in one order."
        )
    return pa.record_batch([columns[name] for name in ROW.names], schema=ROW)


def prediction_columns(prediction: NDArray[np.float64]) -> dict[str, pa.Array]:
    """What the table keeps of predictions (n,) or logits (n, classes): `prediction`, `logits` and
    `statistics`, of which each row has one (`schemas/statistics.py`)."""
    n = len(prediction)
    columns = {
        "prediction": pa.nulls(n, pa.float64()),
        "logits": pa.nulls(n, _FLOATS),
        "statistics": pa.nulls(n, _FLOATS),
    }
    if prediction.ndim == 1:
        columns["prediction"] = pa.array(prediction)
    elif prediction.shape[1] <= MAX_LOGITS:
        columns["logits"] = _lists(prediction, n)
    else:
        columns["statistics"] = _lists(statistics(prediction), n)
    return columns


_FLOATS = pa.list_(pa.float32())


def _array(values: Any) -> NDArray[Any]:
    """NumPy's view of an array, a torch tensor (detached, on the host) or a sequence."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values)


def _moments(values: Any) -> pa.Array:
    """Event times as UTC microseconds; datetime64 counts as UTC, a naive datetime is refused."""
    kind = pa.timestamp("us", tz="UTC")
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return pa.array(values.astype("datetime64[us]"), pa.timestamp("us")).cast(kind)
    listed = list(values)
    naive = [one for one in listed if isinstance(one, datetime) and one.tzinfo is None]
    if naive:
        raise ConfigurationError(
            f"event_times: {naive[0]} has no time zone. Remedy: give aware datetimes, or NumPy's"
            " datetime64 in UTC."
        )
    return pa.array([None if one is None else one.astimezone(UTC) for one in listed], kind)


def _labels(values: Any) -> pa.Array:
    """Labels, null where None."""
    if isinstance(values, (list, tuple)):
        return pa.array(values, pa.float64())
    return pa.array(_array(values).astype(np.float64, copy=False))


def _lists(values: NDArray[Any], n: int) -> pa.Array:
    """A matrix (n, width) as n lists of float32."""
    if values.ndim != 2:
        raise ConfigurationError(
            f"{values.ndim} dimensions where logits or a sketch have two. Remedy: give (n, width)."
        )
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
    starts = np.arange(values.shape[0] + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(starts), flat)


def _segments(
    pipeline: Pipeline, given: Mapping[str, Sequence[str | None]] | None, n: int
) -> pa.Array:
    """Segment keys in the pipeline's order, empty where None, as the scoring job writes them."""
    declared = pipeline.instances.segments
    if set(given or {}) != set(declared):
        raise ConfigurationError(
            f"segments: {sorted(given or {})} given, the pipeline declares {sorted(declared)}."
            " Remedy: give one sequence of keys for each."
        )
    if not declared or given is None:
        return pa.array([[]] * n, pa.list_(pa.string()))
    keys = zip(*(given[name] for name in declared), strict=True)
    return pa.array([[key or "" for key in row] for row in keys], pa.list_(pa.string()))


def faults(rows: pa.Table, pipeline: Pipeline) -> pa.Array:
    """The first reason why each row cannot be used, null where it can: as `spark_jobs.rejects`."""
    many = pipeline.task == "multiclass"
    outputs = pc.or_(pc.is_valid(rows["logits"]), pc.is_valid(rows["statistics"]))
    given = pc.coalesce(rows["prediction"], rows["probability"])
    latest = pc.add(rows["recorded_at"], pa.scalar(reasons.CLOCK_SKEW))
    wrong = {
        reasons.MISSING: pc.or_(
            pc.is_null(rows["event_time"]),
            pc.or_(pc.equal(rows["instance_id"], ""), pc.equal(rows["model_version"], "")),
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
