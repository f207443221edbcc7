"""The selection on an Arrow table: for notebooks, tests and simulations."""

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigurationError, DataQualityError
from schemas.sections.budget import parse_budget
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.engine import SelectionResult, select
from spark_jobs.selection.policies import policy_for, require_possible
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.records import from_arrow, infer_task, matrix

COLUMNS = ["instance_id", "score", "probability", "drawn", "weight", "offset"]


def draw(
    records: pa.Table,
    *,
    policy: str | Policy = "calibrated",
    budget: float | str = 0.1,
    seed: int = 1,
    task: str | None = None,
) -> pa.Table:
    """Select among `records`, row for row what the Spark job selects from the same candidates.

    records: columns of `forward_records` with a label on each, one row an instance: instance_id,
    prediction (logit or value), logits or statistics, label, and optionally model_version,
    event_time, segments and sketch. policy: a name, or a `Policy` (`policy_for` changes one).
    budget: a share of the rows above 0 and at most 1, or "500 rows". seed: that of the refresh's
    manifest.
    Returns every candidate, in the order given: instance_id, score, probability, drawn, weight
    (0 where not drawn), offset. Raises ConfigurationError, DataQualityError or NoDataError.
    """
    selection = selection_of(records, policy=policy, budget=budget, seed=seed, task=task)
    rows = selection.rows(False)
    order = pc.index_in(records["instance_id"], value_set=rows["instance_id"])
    return rows.take(order).select(COLUMNS)


def selection_of(
    records: pa.Table,
    *,
    policy: str | Policy,
    budget: float | str,
    seed: int,
    task: str | None = None,
) -> SelectionResult:
    """`draw` with the report card; its rows are in the order of the hash."""
    share = parse_budget(budget)
    _require_usable(records)
    task = task or infer_task(records)
    if isinstance(policy, str):
        policy = policy_for(policy, task)
    require_possible(policy, task)
    return select(ArrowBlocks(from_arrow(records, seed)), policy, share, seed, task)


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
    for many in ("logits", "statistics"):
        if name == "prediction" and matrix(records, many, float).shape[1]:
            return pc.is_null(records[many])
    absent = pa.nulls(records.num_rows, pa.float64())
    values = records[name] if name in records.column_names else absent
    return pc.invert(pc.fill_null(pc.is_finite(pc.cast(values, pa.float64())), False))
