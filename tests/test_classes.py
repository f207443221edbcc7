"""How many classes there are, and what is recorded of them: logits, or statistics above 16."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from inference.outputs import prediction_columns
from inference.recording.frame import frame_of
from inference.recording.rows import rows_in
from inference.recording.usable import faults, usable
from schemas import reasons
from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import Pipeline
from schemas.statistics import WIDTH, statistics
from tests.helpers.trainer_tables import in_memory, random_rows, small_card, small_pipeline
from trainer.data.survey import Survey, survey_of
from trainer.fitting.checks import count_outputs

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def multiclass(classes: int | None = None) -> Pipeline:
    whole = small_pipeline("multiclass").model_dump()
    whole["labels"]["classes"] = classes
    return Pipeline.model_validate(whole)


def surveyed(*labels: float) -> Survey:
    rows = random_rows(len(labels)) | {"label": np.array(labels, np.float32)}
    return survey_of([in_memory(multiclass(), rows)], "multiclass")


NONE_HELD = np.zeros(0, np.float32)


def test_the_file_says_how_many_classes_else_the_champion_else_the_labels_of_the_first_sample():
    few = surveyed(0, 1, 3)
    champion = small_card(multiclass(), outputs=7)
    assert count_outputs("multiclass", few, NONE_HELD, None) == 4
    assert count_outputs("multiclass", few, np.array([5], np.float32), None) == 6
    assert count_outputs("multiclass", few, NONE_HELD, champion) == 7
    assert count_outputs("multiclass", few, NONE_HELD, None, 1000) == 1000


def test_labels_beyond_the_classes_are_refused_and_more_than_16_must_be_declared():
    with pytest.raises(DataQualityError, match=r"label = 3\.0: not a class from 0 to 2"):
        count_outputs("multiclass", surveyed(0, 3), NONE_HELD, None, 3)
    with pytest.raises(DataQualityError, match=r"label = 20\.0: .* 0 to 15 .*labels\.classes"):
        count_outputs("multiclass", surveyed(0, 20), NONE_HELD, None)
    assert count_outputs("multiclass", surveyed(0, 20), NONE_HELD, None, 21) == 21


def test_classes_of_another_task_are_refused():
    whole = small_pipeline("binary").model_dump()
    whole["labels"]["classes"] = 2
    with pytest.raises(ValidationError, match=r"labels\.classes: only of a multiclass task"):
        Pipeline.model_validate(whole)


def recorded(pipeline: Pipeline, logits: np.ndarray) -> pa.Table:
    n = len(logits)
    ids = [f"i{i}" for i in range(n)]
    moment = int(NOON.timestamp() * 1e6)
    frame = frame_of(pipeline, ids, [NOON] * n, logits, model_version="1", recorded_at=moment)
    return rows_in([frame])


@pytest.mark.parametrize(("classes", "column"), [(16, "logits"), (17, "statistics")])
def test_the_recorder_keeps_logits_of_16_classes_and_statistics_of_more(classes, column):
    logits = np.random.default_rng(1).normal(size=(5, classes)).astype(np.float32)
    rows = recorded(multiclass(classes), logits)
    assert faults(rows, multiclass(classes)).null_count == 5
    table = usable(rows, "batch")
    kept = np.array(table[column].to_pylist(), np.float32)
    other = "statistics" if column == "logits" else "logits"
    wanted = logits.astype(np.float32) if column == "logits" else statistics(logits)
    np.testing.assert_array_equal(kept, wanted)
    assert table[other].null_count == table["prediction"].null_count == 5


def test_both_writers_make_the_columns_by_one_function():
    logits = np.random.default_rng(2).normal(size=(3, 40)).astype(np.float32)
    rows = recorded(multiclass(40), logits)
    for name, made in prediction_columns(logits).items():
        assert rows[name].to_pylist() == made.to_pylist(), name
    assert {len(kept) for kept in rows["statistics"].to_pylist()} == {WIDTH}


def test_outputs_that_are_not_finite_or_of_other_classes_are_rejected():
    logits = np.random.default_rng(3).normal(size=(2, 40))
    logits[1, 7] = np.nan
    assert faults(recorded(multiclass(40), logits), multiclass(40)).to_pylist() == [
        None,
        reasons.NOT_FINITE,
    ]
    for declared in (39, 10):
        found = faults(recorded(multiclass(declared), logits[:1]), multiclass(declared))
        assert found.to_pylist() == [reasons.WRONG_ARITY]


def test_a_matrix_is_wanted_of_many_classes():
    with pytest.raises(ConfigurationError, match="predictions: 1 dimensions"):
        recorded(multiclass(40), np.zeros(3))
