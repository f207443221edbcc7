"""The selection on an Arrow table or a data frame: for notebooks, tests and simulations."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.sections.budget import parse_budget
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.engine import SelectionResult, select
from spark_jobs.selection.from_arrow import from_arrow
from spark_jobs.selection.given import candidates_of, table_of
from spark_jobs.selection.policies import policy_for, require_possible
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.record_step import ServedVersion

# Under this key a table that was drawn says by which policy and design, as JSON.
DRAW = b"tenforward.draw"
COLUMNS = ["instance_id", "score", "probability", "drawn", "weight", "offset"]


def draw(
    records: Any,
    *,
    policy: str | Policy = "calibrated",
    budget: float | str = 0.1,
    seed: int = 1,
    task: str | None = None,
) -> pa.Table:
    """Select among `records`, row for row what the Spark job selects from the same candidates.

    records: a pyarrow.Table or a pandas DataFrame with columns of `forward_records` and a label on
    each row, one row an instance: instance_id, prediction (logit or value), logits or statistics,
    label, and optionally model_version, event_time, segments, sketch, propensity (the chance with
    which the row, or its label, came to be there: weights are over that as well) and row_weight
    (what the row itself counts for, at least 0: weights are multiples of it). policy: a name, or a
    `Policy` (`policy_for` changes one). budget: a share of the rows above 0 and at most 1, or "500
    rows". seed: that of the refresh's manifest. task: binary, multiclass or regression; by default
    what logits and labels tell.
    Returns every candidate, in the order given: instance_id, score, probability, drawn, weight
    (0 where not drawn), offset; the schema's metadata name policy and design. Raises
    ConfigurationError, DataQualityError (also for whatever would be a reject in the warehouse) or
    NoDataError.
    """
    given = table_of(records)
    selection, used = _selected(given, policy=policy, budget=budget, seed=seed, task=task)
    rows = selection.rows(False)
    order = pc.index_in(given["instance_id"], value_set=rows["instance_id"])
    return rows.take(order).select(COLUMNS).replace_schema_metadata({DRAW: _noted(used)})


def selection_of(
    records: Any,
    *,
    policy: str | Policy,
    budget: float | str,
    seed: int,
    task: str | None = None,
    served: ServedVersion | None = None,
) -> SelectionResult:
    """`draw` with the report card; its rows are in the order of the hash. served: whose record step
    the report is to have."""
    found, _ = _selected(records, policy=policy, budget=budget, seed=seed, task=task, served=served)
    return found


def _selected(
    records: Any,
    *,
    policy: str | Policy,
    budget: float | str,
    seed: int,
    task: str | None,
    served: ServedVersion | None = None,
) -> tuple[SelectionResult, Policy]:
    share = parse_budget(budget)
    name = policy if isinstance(policy, str) else policy.name
    candidates, task = candidates_of(table_of(records), task, name)
    if isinstance(policy, str):
        policy = policy_for(policy, task)
    require_possible(policy, task)
    blocks = ArrowBlocks(from_arrow(candidates, seed))
    return select(blocks, policy, share, seed, task, served), policy


def _noted(policy: Policy) -> bytes:
    told = {
        "policy": policy.name,
        "design": policy.design,
        "exact": DESIGNS[policy.design].exact,
    }
    return json.dumps(told).encode()
