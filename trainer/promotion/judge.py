"""Challenger, champion and anchor asked about the held-out rows of a refresh."""

from typing import Any

from numpy.typing import NDArray
from torch import nn

from schemas.bundle import ModelCard
from schemas.pipeline import Pipeline
from schemas.registry import CHAMPION
from schemas.sections.training import Training
from trainer.data.reader import HeldOut, Rows
from trainer.models.export import predict
from trainer.promotion.assess import Assessment, assess
from trainer.promotion.evaluate import Metrics, evaluate
from trainer.promotion.gate import HOLDOUT

FORWARD = "forward"
CHALLENGER = "challenger"


def judge(
    pipeline: Pipeline,
    model: nn.Module,
    champion: nn.Module | None,
    held_out: HeldOut,
    anchor: nn.Module | None = None,
) -> dict[str, Assessment]:
    """What all did on the held-out rows of the days drawn from, and on those of the days after
    where the refresh has such days (`selection.forward_days`). A champion of another encoding is
    asked about the same rows as it reads them (`HeldOut.others`), and so is a challenger; an anchor
    reads them as the challenger does (`open_anchor`). A row whose own weight is 0 counts for
    nothing, and is none of them."""
    counts = held_out.rows.weight > 0
    sets = {HOLDOUT: held_out.at(counts & ~held_out.forward)}
    if held_out.forward.any():
        sets[FORWARD] = held_out.at(counts & held_out.forward)

    def answered(name: str, one: nn.Module | None, part: HeldOut) -> NDArray[Any] | None:
        return None if one is None else answers(one, pipeline.task, part.read_by(name))

    def asked(part: HeldOut) -> Assessment:
        return assess(
            pipeline.task,
            answers(model, pipeline.task, part.read_by(CHALLENGER)),
            answered(CHAMPION, champion, part),
            part.rows.label,
            weight=part.rows.weight,
            anchor=answered(CHALLENGER, anchor, part),
            segments=part.segments,
            settings=pipeline.training,
            confidence=pipeline.gate.confidence,
        )

    return {name: asked(part) for name, part in sets.items()}


def metrics_by_set(sets: dict[str, Assessment]) -> dict[str, Metrics]:
    """Metrics by whose they are: `challenger`, `forward.challenger`, ..."""
    return {
        name if of == HOLDOUT else f"{of}.{name}": metrics
        for of, assessment in sets.items()
        for name, metrics in assessment.metrics().items()
    }


def answers(model: nn.Module, task: str, rows: Rows) -> NDArray[Any]:
    """What a model serves for rows: (n,), or (n, classes)."""
    output = predict(model, rows)
    return output if task == "multiclass" else output[:, 0]


def measure(model: nn.Module, card: ModelCard, rows: Rows, settings: Training) -> Metrics:
    """How well a model answers for rows, by their weights and the loss of these settings."""
    output = answers(model, card.task, rows)
    return evaluate(card.task, output, rows.label, settings, rows.weight)
