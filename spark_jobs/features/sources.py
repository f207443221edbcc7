"""What a model reads of the store must be there: on storage, whatever the pipeline file says."""

from schemas.encoding import INSTANCES, Encoding
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from spark_jobs.features.point_in_time import columns_used
from spark_jobs.storage.logs import require_owned


def require_sources(pipeline: Pipeline, warehouse: str, encoding: Encoding, whose: str) -> None:
    """Refuse a model whose features cannot be read any more; `whose` names it.

    A table keeps a column that the pipeline file has dropped, so that a model goes on being served.
    Raises ConfigurationError with the columns that are gone.
    """
    used = columns_used(encoding)
    keys = {key for view in encoding.feature_views for key in view.entity}
    needed = {INSTANCES: used.get(INSTANCES, set()) | keys}
    for view in encoding.feature_views:
        times = {view.timestamp_field, view.created_timestamp_column}
        needed[f"features/{view.name}"] = used[view.name] | times | {*view.entity}
    gone = []
    for table, columns in needed.items():
        there = set(require_owned(pipeline, warehouse, table).names)
        gone += [f"{table}.{column}" for column in sorted(columns - there)]
    if gone:
        raise ConfigurationError(
            f"{whose}: reads {', '.join(gone)}, which storage does not have. Remedy: put the"
            " columns back, or let a version serve that does without (`tenforward rollback --to`)."
        )
