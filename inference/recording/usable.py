"""Rows of the journal: which of them cannot be used, and the others as `forward_records`."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow_rules import first_fault
from schemas.pipeline import Pipeline
from schemas.rules import rules_of
from schemas.sections.records import CLOSEST
from schemas.tables import forward_records

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
    """The first reason why each row cannot be used, null where it can: `schemas.rules`."""
    return first_fault(rows, rules_of(pipeline, probabilities=True).record)


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
