"""The narrow table of `candidates.narrow` in Arrow, for what asks about candidates without Spark.

`counting` is left out: the same rows can then be seen from several cuts (`seen_from`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow_rules import first_fault
from schemas.rules import Rules
from schemas.sections.store import Labels
from schemas.tables import forward_records
from spark_jobs.candidates.content import LABEL_SAID, content
from spark_jobs.candidates.maturity import counting
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.columns import column
from spark_jobs.selection.hashing import hash_columns

_KEPT = ("instance_id", "event_time", "model_version", "prediction", "logits", "statistics")
HOLDOUT_STEPS = 1_000_000  # of a share that is held out
_RECORD = forward_records().arrow_schema
NARROW = pa.schema(
    [
        pa.field("is_label", pa.bool_()),
        pa.field("fault", pa.string()),
        *(_RECORD.field(name).with_nullable(True) for name in _KEPT),
        pa.field("content", pa.int64()),  # what it says, as one number
        pa.field("label", pa.float64()),
        pa.field("moment", pa.int64()),  # UTC microseconds: when it was recorded, or became known
        pa.field("tie", pa.int64()),  # of equal moments the larger is newer
    ]
)
WEIGHTED = NARROW.append(pa.field("row_weight", pa.float64()))
# With what a draw looks at beside: strata and segments, the sketch of a calibration, and the chance
# that weights are divided by.
_BESIDE = ("segments", "sketch", "propensity")
WHOLE = pa.schema([*WEIGHTED, *(_RECORD.field(name).with_nullable(True) for name in _BESIDE)])


def held_out(ids: pa.Array, share: float) -> Array:
    """`candidates.narrow.held_out` of each id (n,)."""
    hashes = hash_columns(ids, pa.repeat("holdout", len(ids)))
    return np.asarray(hashes % HOLDOUT_STEPS < round(share * HOLDOUT_STEPS))


def kept_out(ids: pa.Array, holdout: float, aside: Sequence[str]) -> Array:
    """Whether each id (n,) is never drawn: held out, or among those that were set aside."""
    return held_out(ids, holdout) | among(ids, aside)


def among(ids: pa.Array, some: Sequence[str]) -> Array:
    """Whether each id (n,) is one of these; a null is none."""
    return np.asarray(pc.is_in(ids, value_set=pa.array(some, ids.type)))


def narrow_records(records: pa.Table, rules: Rules, schema: pa.Schema = NARROW) -> pa.Table:
    """Rows of `forward_records` in narrow form; with `WHOLE` all that a draw needs of them, with
    `WEIGHTED` all that a draw by chance does."""
    beside = (set(schema.names) - set(NARROW.names)) & set(records.column_names)
    tie = hash_columns(column(records, "model_version"), column(records, "batch_id"))
    return _narrow(
        records.num_rows,
        schema,
        **{name: records[name] for name in (*_KEPT, *beside)},
        is_label=pa.repeat(False, records.num_rows),
        fault=first_fault(records, rules.record),
        content=pa.array(content(records)),
        moment=_micros(records["recorded_at"]),
        tie=pa.array(tie),
    )


def narrow_labels(labels: pa.Table, rules: Rules, schema: pa.Schema = NARROW) -> pa.Table:
    """Rows with instance_id, known_at, label and perhaps row_weight in narrow form; what they lack
    is null there."""
    there = [name for name in LABEL_SAID if name in labels.column_names]
    said = pa.table({name: labels[name].cast(pa.float64()) for name in there})
    return _narrow(
        labels.num_rows,
        schema,
        instance_id=labels["instance_id"],
        is_label=pa.repeat(True, labels.num_rows),
        fault=first_fault(said, rules.label),
        content=pa.array(content(said, tuple(there))),
        **{name: said[name] for name in there},
        moment=_micros(labels["known_at"]),
    )


def together(
    records: Sequence[pa.Table], labels: Sequence[pa.Table], schema: pa.Schema = NARROW
) -> pa.Table:
    """Narrow records and labels, of any number of files, as one table."""
    return pa.concat_tables([schema.empty_table(), *records, *labels])


def seen_from(rows: pa.Table, rule: Labels | None, cut: datetime) -> pa.Table:
    """The rows as `assemble` takes them: labels known by the cut, `counting` by the rule."""
    is_label, moment = rows["is_label"], rows["moment"]
    by_now = pc.less_equal(moment, pa.scalar(cut, pa.timestamp("us", tz="UTC")).cast(pa.int64()))
    rows = rows.filter(pc.or_kleene(pc.invert(is_label), by_now))
    counts = pa.array(counting(column(rows, "event_time"), rule, cut))
    return rows.append_column("counting", counts)


def times_asked(rows: pa.Table, asked: pa.Table) -> pa.Table:
    """The rows with their `propensity` times the chance with which their instance was asked for its
    label; null for 1. asked: instance_id and probability."""
    place = pc.index_in(rows["instance_id"], value_set=asked["instance_id"])
    chance, kept = asked["probability"].take(place.combine_chunks()), rows["propensity"]
    both = pc.coalesce(pc.multiply(kept, chance), kept, chance)
    return rows.set_column(rows.column_names.index("propensity"), "propensity", both)


def _micros(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    return moments.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())


def _narrow(rows: int, schema: pa.Schema, **columns: Any) -> pa.Table:
    """A table of the columns, the others null."""
    return pa.table(
        [columns.get(field.name, pa.nulls(rows, field.type)) for field in schema], schema=schema
    )
