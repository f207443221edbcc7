"""What a task read and wrote, for OpenLineage: asked for by Airflow's provider, where there is one.

A command's JSON result names its tables and their versions (`inputs`, `outputs`). Where there is no
result, because the task has just begun or failed, or its Spark driver runs in a cluster, what is
known of the command stands in, without versions: of its inputs only those that no pipeline can have
elsewhere.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tenforward_dags.settings import Deployment


class Dataset(NamedTuple):
    """A table under the name that OpenLineage gives it; version: Delta's, where it is known."""

    namespace: str
    name: str
    version: int | None = None


# What each command reads and writes of a warehouse, whatever its pipeline.
READS = {
    "due": ("forward_records", "refreshes"),
    "select": ("forward_records",),
    "score-select": ("forward_records",),
    "train": ("sampled", "holdout"),
    "monitor": ("forward_records",),
}
WRITES = {
    "score": ("forward_records", "forward_rejects"),
    "select": ("selection_probabilities", "sampled", "holdout", "refreshes"),
    "score-select": (
        *("forward_records", "forward_rejects"),
        *("selection_probabilities", "sampled", "holdout", "refreshes"),
    ),
    "train": ("backward_passes",),
    "monitor": ("performance",),
}


def datasets(
    command: str, warehouse: str, result: Mapping[str, Any]
) -> tuple[list[Dataset], list[Dataset]]:
    """The tables that a command read and those that it wrote, by its result ({}: not known)."""
    steps = (step for day in result.get("days", ()) for step in day.values())
    parts = [result, *(step for step in steps if isinstance(step, dict))]
    told = [
        {
            row["table"]: _dataset(row["path"], row["version"])
            for part in parts
            for row in part.get(side, ())
        }
        for side in ("inputs", "outputs")
    ]
    known = [
        {name: _dataset(f"{warehouse.rstrip('/')}/{name}") for name in tables.get(command, ())}
        for tables in (READS, WRITES)
    ]
    inputs, outputs = ([*(usual | said).values()] for usual, said in zip(known, told, strict=True))
    return inputs, outputs


def _dataset(place: str, version: int | None = None) -> Dataset:
    """A path or URI by OpenLineage's naming: the store, and the path in it."""
    if "://" not in place:
        return Dataset("file", place, version)
    uri = urlsplit(place.replace("s3a://", "s3://", 1))
    return Dataset(f"{uri.scheme}://{uri.netloc}", uri.path.strip("/"), version)


def trace(operator: Any, command: str, deployment: Deployment) -> None:
    """Let the operator answer what OpenLineage's provider asks of each it does not know by name.

    The operator keeps its command's result as `outcome`.
    """
    warehouse = deployment.warehouse
    operator.get_openlineage_facets_on_start = lambda: _lineage(command, warehouse, {})
    operator.get_openlineage_facets_on_complete = lambda ti: _lineage(
        command, warehouse, getattr(ti.task, "outcome", None) or {}
    )


def _lineage(command: str, warehouse: str, result: Mapping[str, Any]) -> Any:
    """The provider's form of `datasets`."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    inputs, outputs = datasets(command, warehouse, result)
    return OperatorLineage(
        inputs=[_told(one) for one in inputs], outputs=[_told(one) for one in outputs]
    )


def _told(dataset: Dataset) -> Any:
    """OpenLineage's form; a version is its facet DatasetVersionDatasetFacet."""
    from airflow.providers.common.compat.openlineage import facet

    version = {"datasetVersion": str(dataset.version)}
    facets = (
        {}
        if dataset.version is None
        else {"version": facet.DatasetFacet().with_additional_properties(**version)}
    )
    return facet.Dataset(namespace=dataset.namespace, name=dataset.name, facets=facets)
