"""What is refused before a model is fitted: rows and champions that cannot be used together."""

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import ModelCard
from schemas.encoding import encoding_of
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from schemas.pipeline import Pipeline, Task
from schemas.shared_columns import MAX_LOGITS
from trainer.data.survey import Survey


def reads_alike(one: ModelCard, other: ModelCard) -> bool:
    """Whether both models read the same rows, encoded alike, and answer alike."""
    reads = {"task", "features", "outputs"}
    if one.model_dump(include=reads) != other.model_dump(include=reads):
        return False
    return None in (one.encoding, other.encoding) or one.encoding == other.encoding


def require_comparable(champion: ModelCard, card: ModelCard) -> None:
    """The gate compares what both say of the same labels, so both must answer alike. What they read
    may differ: the held-out rows are encoded for each."""
    if (champion.task, champion.outputs) != (card.task, card.outputs):
        raise ConfigurationError(
            f"task, labels.classes: the champion answers a {champion.task} task with"
            f" {champion.outputs} outputs, this model a {card.task} task with {card.outputs}, and"
            " the gate cannot compare them. Remedy: restore them in the pipeline file, or start a"
            " new line of models: --model NAME, or another name in the pipeline file"
            " (`tenforward migrate`)."
        )


def require_rows_of_now(pipeline: Pipeline, champion: ModelCard, card: ModelCard) -> None:
    """Refuse to train a model of changed features on rows that were encoded before the change."""
    now, then = encoding_of(pipeline), card.encoding or encoding_of(pipeline)
    changed = then.differences(now)
    if changed and champion.features != card.features:
        raise ConfigurationError(
            "features: the champion was trained on other features than the pipeline file has, and"
            f" refresh {card.refresh_id} was selected before they changed ({', '.join(changed)})."
            " Remedy: select the day again with this pipeline file and train on that refresh, or"
            " start a new line of models with --model NAME."
        )


def count_outputs(
    task: Task,
    survey: Survey,
    held_out: NDArray[np.float32],
    champion: ModelCard | None,
    declared: int | None = None,
) -> int:
    """Outputs of the model: 1, or the number of classes; labels that do not fit are refused.

    held_out: labels of the held-out rows. The number of classes is `labels.classes` of the pipeline
    file; where that is not given, the champion's, or for a first model one more than the largest
    label, at most 16.
    """
    if survey.rows == 0:
        raise NoDataError("the refresh has no rows. Remedy: widen the window, or raise the budget.")
    if survey.weight <= 0:
        raise DataQualityError("weight: the sample's weights sum to 0. Remedy: select again.")
    if task == "regression":
        return 1
    labels = np.union1d(survey.labels, held_out)
    known = declared or (champion.outputs if champion else None)
    limit = 2 if task == "binary" else known or MAX_LOGITS
    strange = labels[(labels % 1 != 0) | (labels < 0) | (labels >= limit)]
    if strange.size:
        raise DataQualityError(
            f"label = {strange[0]}: not a class from 0 to {limit - 1} of task {task!r}."
            " Remedy: correct the label column, or set task or labels.classes in the pipeline file."
        )
    if task == "binary":
        return 1
    return known or int(labels.max()) + 1
