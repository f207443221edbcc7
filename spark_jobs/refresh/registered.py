"""Which model versions the registry knows: a record of any other came from somewhere else.

Without Spark: `due` asks too.
"""

import importlib.util
import os
from pathlib import Path

from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.places import is_remote
from schemas.registry import mlflow_client, registry_exists


def accepted_versions(pipeline: Pipeline, warehouse: str) -> tuple[str, ...] | None:
    """The model versions whose records count, sorted; None where any does."""
    # The models of an imported log are somebody else's; no registry of ours knows them.
    if pipeline.selection.unknown_models == "accept" or pipeline.records is not None:
        return None
    known = registered_versions(warehouse, pipeline.name)
    return None if known is None else tuple(sorted(known))


def registered_versions(warehouse: str, name: str) -> frozenset[str] | None:
    """Versions of model `name`; None where there is no registry, or it has no such model."""
    local = not is_remote(warehouse) and Path(warehouse).exists()
    if not ("MLFLOW_TRACKING_URI" in os.environ or local) or not registry_exists(warehouse):
        return None
    if importlib.util.find_spec("mlflow") is None:
        log.warning("mlflow is not installed here: model versions are not checked")
        return None
    client, versions, token = mlflow_client(warehouse), set(), None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        versions |= {str(version.version) for version in page}
        token = page.token
        if not token:
            return frozenset(versions) or None
