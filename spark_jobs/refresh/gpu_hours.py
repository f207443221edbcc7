"""GPU hours as rows: what the trainer has been seen to manage."""

import statistics

from schemas.errors import ConfigurationError
from schemas.registry import mlflow_client, registry_exists
from schemas.sections.budget import Budget
from spark_jobs.storage.warehouse import Warehouse

SPEED = "train.rows_per_second"
RUNS = 5


def affordable(warehouse: Warehouse, budget: Budget) -> Budget:
    """The budget in rows or as a share; GPU hours by the median speed of the last training runs.

    Raises ConfigurationError where no run has measured its speed.
    """
    if budget.unit != "gpu hours":
        return budget
    speed = _median_speed(warehouse)
    if speed is None:
        raise ConfigurationError(
            f'selection.budget = "{budget.amount:g} gpu hours": no training run of'
            f" {warehouse.pipeline.name!r} has measured its rows per second. Remedy: train once"
            " with a budget in rows or as a share."
        )
    return budget.in_rows(speed, warehouse.pipeline.training.epochs)


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
