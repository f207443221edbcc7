"""What is refused before a model is fitted: rows and champions that cannot be used together."""

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import ModelCard
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from schemas.pipeline import Task
from schemas.tables import MAX_LOGITS
from trainer.data.survey import Survey


def comparable(one: ModelCard, other: ModelCard) -> bool:
    """Whether both models read the same rows and answer alike."""
    reads = {"task", "features", "outputs"}
    return one.model_dump(include=reads) == other.model_dump(include=reads)


def require_comparable(champion: ModelCard, card: ModelCard) -> None:
    """The gate measures both on the same rows, so both must be able to read them."""
    if not comparable(champion, card):
        raise ConfigurationError(
            "features: the champion was trained on other features, buckets or classes and cannot"
            " be measured on these rows. Remedy: restore them in the pipeline file, or start a new"
            " line of models with --model NAME."
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
