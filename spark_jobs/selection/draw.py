"""The selection on an Arrow table: for notebooks, tests and simulations."""

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigurationError, DataQualityError
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.engine import select
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.records import infer_task

COLUMNS = ["instance_id", "score", "probability", "drawn", "weight", "offset"]


def draw(
    records: pa.Table,
    *,
    policy: str = "calibrated",
    budget: float = 0.1,
    seed: int = 1,
    task: str | None = None,
) -> pa.Table:
    """Select among `records`, row for row what the Spark job selects from the same candidates.

    records: columns of `forward_records` with a label on each, one row an instance: instance_id,
    prediction (logit or value) or logits, label, and optionally segments and sketch.
    budget: share of the rows, above 0 and at most 1. seed: that of the refresh's manifest.
    Returns every candidate, in the order given: instance_id, score, probability, drawn, weight
    (0 where not drawn), offset. Raises ConfigurationError, DataQualityError or NoDataError.
    """
    if not 0.0 < budget <= 1.0:
        raise ConfigurationError(
            f"budget = {budget}: must be above 0 and at most 1. Remedy: give a share of the rows."
        )
    _require_usable(records)
    chosen = policy_for(policy, task or infer_task(records))
    selection = select(
        ArrowBlocks(records, seed), chosen, budget, seed, task or infer_task(records)
    )
    order = pc.index_in(records["instance_id"], value_set=selection.rows["instance_id"])
    return selection.rows.take(order).select(COLUMNS)


def _require_usable(records: pa.Table) -> None:
    needed = {"instance_id", "label"} - set(records.column_names)
    if needed:
        raise ConfigurationError(
            f"records lack the column {sorted(needed)[0]!r}. Remedy: join labels to the records."
        )
    if pc.count_distinct(records["instance_id"]).as_py() != records.num_rows:
        raise DataQualityError(
            "records: an instance_id occurs twice. Remedy: keep the newest record of each."
        )
    for name in ("prediction", "label"):
        bad = records.filter(_not_finite(records, name))
        if bad.num_rows:
            first = bad.slice(0, 1).select(["instance_id", name]).to_pylist()[0]
            raise DataQualityError(
                f"records: {name} is null or not finite in {bad.num_rows} rows, first {first}."
                " Remedy: leave such rows out, they belong to forward_rejects."
            )


def _not_finite(records: pa.Table, name: str) -> pa.ChunkedArray:
    """Mask of rows whose value is missing or not a number; logits stand in for a prediction."""
    absent = pa.nulls(records.num_rows, pa.float64())
    values = records[name] if name in records.column_names else absent
    bad = pc.invert(pc.fill_null(pc.is_finite(pc.cast(values, pa.float64())), False))
    if name == "prediction" and "logits" in records.column_names:
        return pc.and_(bad, pc.is_null(records["logits"]))
    return bad
