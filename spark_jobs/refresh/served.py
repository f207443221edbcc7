"""The model whose last layer a refresh's records are to move: the champion, where that can be."""

from datetime import UTC, datetime

from schemas.manifests import Decided
from schemas.pipeline import Pipeline
from schemas.registry import champion_version, mlflow_client
from spark_jobs.refresh.registered import registry_at_hand
from spark_jobs.selection.record_step import ServedVersion

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def served_by(pipeline: Pipeline, warehouse: str, decided: Decided) -> ServedVersion | None:
    """The champion, and the event days on which its records are news to it.

    None where no training would begin with such a step, where there is no champion, and where it is
    not known what it has learnt from.
    """
    training, learnt_until = pipeline.training, decided.learnt_until or {}
    absolute = pipeline.task == "regression" and training.loss == "absolute"  # bends nowhere
    if not training.record_step or not training.warm_start or pipeline.model.own or absolute:
        return None
    if not learnt_until or not registry_at_hand(warehouse):
        return None
    champion = champion_version(mlflow_client(warehouse), pipeline.name)
    cut = None if champion is None else learnt_until.get(str(champion.version))
    if champion is None or cut is None:
        return None
    huber = pipeline.task == "regression" and training.loss == "huber"
    clip = {"clip": training.huber_delta} if huber else {}
    return ServedVersion(str(champion.version), (cut - _EPOCH).days, **clip)
