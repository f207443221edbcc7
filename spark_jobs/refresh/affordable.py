"""A budget as rows: of GPU hours what the trainer has been seen to manage, of backward passes what
the forward passes pay for."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from math import floor

from schemas.allowance import Allowance
from schemas.errors import ConfigurationError, NoDataError
from schemas.manifests import Manifest
from schemas.registry import mlflow_client, registry_exists
from schemas.sections.budget import Budget
from spark_jobs.refresh.forward_passes import counted_by, of_policy, predecessor
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.storage.warehouse import Warehouse


class NoRowError(NoDataError):
    """The budget of a day comes to no row; its forward passes count in the next refresh."""


SPEED = "train.rows_per_second"
RUNS = 5
_ROUNDING = 1e-9  # 0.1 x 30 / 3 is a row, and a little less


def affordable(
    warehouse: Warehouse, plan: RefreshPlan, budget: Budget, made: Sequence[Manifest] | None = None
) -> tuple[Budget, Allowance]:
    """The budget in rows or as a share, and what pays for the refresh; of this the backward passes
    are known when it is known how many rows were drawn.

    made: the refreshes of its policy, the newest date first, that may have counted forward passes;
    None for all that are there. Raises ConfigurationError where no run has measured its speed,
    NoRowError for a budget that comes to no row.
    """
    training = warehouse.pipeline.training
    made = of_policy(warehouse, plan.policy) if made is None else made
    before, version = predecessor(made, plan.ds), plan.versions["forward_records"]
    allowance = Allowance(
        forward_passes=counted_by(
            warehouse, plan.refresh_id, plan.window_start, plan.ds, version, made
        ),
        predecessor=None if before is None else before.refresh_id,
        backward_passes=0,
        epochs=training.epochs,
        pulls=training.passes // training.epochs,
    )
    if budget.unit == "gpu hours":
        return by_speed(warehouse, budget), allowance
    if budget.unit == "per forward pass":
        return _by_forward_passes(plan, budget, allowance, carried_by(before))
    return budget, allowance


def carried_by(before: Manifest | None) -> float:
    """What the refresh before has left below one row."""
    return 0.0 if before is None or before.allowance is None else before.allowance.carried


def _by_forward_passes(
    plan: RefreshPlan, budget: Budget, allowance: Allowance, carried: float
) -> tuple[Budget, Allowance]:
    """Whole rows for amount x forward passes and what was carried; the rest is carried on."""
    a_row, paid = allowance.epochs * allowance.pulls, allowance.forward_passes
    rows, left = rows_paid(budget.amount, paid, carried, a_row)
    if rows < 1:
        backward = budget.amount * paid + carried
        raise NoRowError(
            f'--ds = {plan.ds}: selection.budget = "{budget}" of {allowance.forward_passes} forward'
            f" passes since {allowance.predecessor or 'the beginning'}, which no other refresh has"
            f" counted, is {backward:.4g} backward passes, and a row costs {a_row} (training.epochs"
            " x pulls). Remedy: score the day where it has no records; else select a later one,"
            " which will count what this one has, lower training.epochs, or raise the budget."
        )
    return Budget(rows, "rows"), replace(allowance, carried=left)


def rows_paid(amount: float, passes: int, carried: float, a_row: int) -> tuple[int, float]:
    """Whole rows for so many forward passes, and what is left below one, in backward passes."""
    backward = amount * passes + carried
    rows = floor(backward / a_row + _ROUNDING)
    return rows, max(0.0, backward - rows * a_row)


def by_speed(warehouse: Warehouse, budget: Budget) -> Budget:
    """GPU hours by the median speed of the last training runs. ConfigurationError without one."""
    speed = _median_speed(warehouse)
    if speed is None:
        raise ConfigurationError(
            f'selection.budget = "{budget}": no training run of {warehouse.pipeline.name!r} has'
            " measured its rows per second. Remedy: train once with a budget in rows or as a share."
        )
    return budget.in_rows(speed, warehouse.pipeline.training.passes)


def _median_speed(warehouse: Warehouse) -> float | None:
    if not registry_exists(warehouse.root):
        return None
    client = mlflow_client(warehouse.root)
    experiment = client.get_experiment_by_name(warehouse.pipeline.name)
    if experiment is None:
        return None
    runs = client.search_runs(
        [experiment.experiment_id],
        filter_string=f"metrics.`{SPEED}` > 0",
        order_by=["attributes.start_time DESC"],
        max_results=RUNS,
    )
    speeds = [run.data.metrics[SPEED] for run in runs]
    return statistics.median(speeds) if speeds else None
