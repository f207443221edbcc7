"""The rows that models are asked about, as each of them reads them."""

from collections.abc import Mapping
from dataclasses import replace

from schemas.bundle import ModelCard
from schemas.inputs import columns_of, model_inputs
from schemas.pipeline import Pipeline
from trainer.data.reader import HeldOut
from trainer.features.held_out import Source, inputs_for


def read_by_each(
    held_out: HeldOut, pipeline: Pipeline, source: Source, cards: Mapping[str, ModelCard]
) -> HeldOut:
    """The held-out rows with the inputs of each model, by what it is: `champion`, `challenger`.

    Raises what `inputs_for` raises.
    """
    columns = columns_of(model_inputs(pipeline), held_out.rows.inputs)
    others = {of: inputs_for(card, pipeline, source, columns) for of, card in cards.items()}
    return replace(held_out, others=others)
