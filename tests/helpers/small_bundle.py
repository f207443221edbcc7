"""A small model, trained a little, as its bundle is made of."""

from torch import nn

from schemas.pipeline import Pipeline
from tests.helpers.trainer_tables import in_memory, random_rows, small_card
from trainer.data.survey import survey_of
from trainer.fitting.fit import fit
from trainer.models.model import build_model, standardise


def trained_model(pipeline: Pipeline) -> nn.Module:
    """The model of a small binary pipeline, fitted on 500 rows."""
    trained = build_model(small_card(pipeline), seed=1)
    rows = in_memory(pipeline, random_rows(500, seed=13))
    standardise(trained, survey_of([rows], "binary"))
    fit(trained, rows, "binary", pipeline.training)
    return trained
