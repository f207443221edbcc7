"""What happened to a pipeline beside its predictions: refreshes, their cost, promotions."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from schemas.ledger import read_spent
from schemas.manifests import read_manifests
from schemas.registry import PROMOTED, ROLLED_BACK
from spark_jobs.refresh.registered import Tags, registered_versions
from spark_jobs.storage.warehouse import Warehouse


def refreshes(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Of each refresh, oldest first: its day and policy, the forward passes that paid for it, and
    the backward passes planned and spent; None where its manifest does not know."""
    spent = read_spent(warehouse.root)
    found = []
    for one in read_manifests(warehouse.path("refreshes"), pipeline=warehouse.pipeline.name)[::-1]:
        paid = one.allowance
        found.append(
            {
                "refresh_id": one.refresh_id,
                "ds": one.ds,
                "policy": one.policy,
                "forward_passes": None if paid is None else paid.forward_passes,
                "planned": None if paid is None else paid.backward_passes,
                "spent": sum(spent.get(one.refresh_id, {}).values()),
            }
        )
    return found


def promotions(warehouse: Warehouse) -> list[dict[str, Any]]:
    """`promoted` of what the registry knows of the pipeline's model."""
    return promoted(registered_versions(warehouse.root, warehouse.pipeline.name))


def promoted(versions: Mapping[str, Tags]) -> list[dict[str, Any]]:
    """Of each version that served: the first day that it could answer, by the days of the refreshes
    (a backfill promotes at other moments than the days were), and whether it was rolled back."""
    found = [
        {
            "day": date.fromisoformat(tags["ds"]) + timedelta(days=1),
            "model_version": version,
            "rolled_back": ROLLED_BACK in tags,
        }
        for version, tags in versions.items()
        if PROMOTED in tags and "ds" in tags
    ]
    return sorted(found, key=lambda one: (one["day"], one["model_version"]))
