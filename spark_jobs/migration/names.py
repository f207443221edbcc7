"""A pipeline of another name from now on: its tables, its manifests and its model follow."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from delta.tables import DeltaTable
from deltalake import DeltaTable as Snapshot
from pyspark.sql import functions as F

from schemas.errors import ConfigurationError
from schemas.lock import exclusive
from schemas.manifests import read_manifests
from schemas.ownership import OWNER, of_another
from schemas.places import for_spark, state_folder
from schemas.registry import has_model, mlflow_client, registry_exists
from spark_jobs.migration.change import Change
from spark_jobs.storage.properties import give
from spark_jobs.storage.warehouse import Warehouse


def require_owners(warehouse: Warehouse, before: str | None) -> None:
    """Refuse a table that is neither the pipeline's nor of its name before.

    Raises ConfigurationError.
    """
    for name, owner in owners(warehouse).items():
        if owner not in (None, warehouse.pipeline.name, before):
            raise ConfigurationError(
                f"table {name}: {of_another(owner, warehouse.pipeline.name, warehouse.root)}"
            )


def owners(warehouse: Warehouse) -> dict[str, str | None]:
    """The pipeline that each table names; None where it names none."""
    there = [name for name in warehouse.own_tables if warehouse.exists(name)]
    properties = {name: Snapshot(warehouse.path(name)).metadata().configuration for name in there}
    return {name: found.get(OWNER) for name, found in properties.items()}


def name_steps(warehouse: Warehouse, before: str | None) -> Iterator[Change]:
    """What gives everything of the pipeline `before` its name of now; the tables come last, so that
    a migration that was ended before them is refused by every other command, and repeated."""
    name = warehouse.pipeline.name
    if before is None or before == name:
        return
    yield from _registry_steps(warehouse.root, before, name)
    if warehouse.exists("refreshes"):
        old = read_manifests(warehouse.path("refreshes"), pipeline=before)
        if old:
            change = f"name {name} in the manifests of {len(old)} refreshes of {before}"
            yield Change("refreshes", change, partial(_rename_manifests, warehouse, before))
    for table, owner in owners(warehouse).items():
        if owner == before:
            change = f"let it be {name}'s, not {before}'s"
            yield Change(table, change, partial(give, warehouse.path(table), {OWNER: name}))


def _registry_steps(root: str, before: str, name: str) -> Iterator[Change]:
    if not registry_exists(root):
        return
    client = mlflow_client(root)
    if has_model(client, before):
        if has_model(client, name):
            raise ConfigurationError(
                f"--from {before}: the registry has a model {name} as well, and two cannot become"
                " one. Remedy: rename or delete one of them there, or give the pipeline another"
                " name."
            )
        change = f"rename the model {before}, with its versions and aliases, to {name}"
        yield Change("registry", change, partial(client.rename_registered_model, before, name))
    experiment = client.get_experiment_by_name(before)
    if experiment is not None and client.get_experiment_by_name(name) is None:
        change = f"rename the experiment {before} to {name}"
        number = experiment.experiment_id
        yield Change("registry", change, partial(client.rename_experiment, number, name))


def _rename_manifests(warehouse: Warehouse, before: str) -> None:
    table = DeltaTable.forPath(warehouse.spark, for_spark(warehouse.path("refreshes")))
    table.update(F.col("pipeline") == before, {"pipeline": F.lit(warehouse.pipeline.name)})


@contextmanager
def no_training(warehouse: str, *names: str) -> Iterator[None]:
    """Keep models of these names from being trained meanwhile. Raises ConflictError."""
    with ExitStack() as held:
        for name in sorted({*names}):
            lock = state_folder(warehouse) / f".train-{name}.lock"
            held.enter_context(exclusive(lock, wait=False))
        yield
