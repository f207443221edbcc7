"""A run's datasets as MLflow keeps them: every table version behind a training."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from schemas.places import within

if TYPE_CHECKING:  # `mlflow_client` imports it, with its settings made first
    from mlflow.entities import DatasetInput

CONTEXT = "mlflow.data.context"  # the tag under which MLflow's page shows what a dataset is for
_USES = {"sampled": "training", "holdout": "evaluation"}  # what is not here was selected from
_DIGEST = 36  # characters that MLflow keeps


def datasets_of(
    warehouse: str, versions: Mapping[str, int], sample_digest: str
) -> "list[DatasetInput]":
    """One dataset for each table of `versions`, at that Delta version; in the order of names.

    The digest of `sampled` is the sample's, that of any other table its version.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    found = []
    for table, version in sorted(versions.items()):
        source = {"path": within(warehouse, table), "delta_table_version": version}
        digest = sample_digest if table == "sampled" else f"version {version}"
        dataset = Dataset(table, digest[:_DIGEST], "delta_table", json.dumps(source))
        use = InputTag(CONTEXT, _USES.get(table, "selection"))
        found.append(DatasetInput(dataset, [use]))
    return found
