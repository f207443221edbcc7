"""A request's way through the journal: what came comes out, what could not is refused."""

import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import torch

from inference.recording.frame import frame_of
from inference.recording.rows import rows_in
from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import load_pipeline
from tests.helpers.flights_loop import PIPELINE

FLIGHTS = load_pipeline(PIPELINE)
CLASSES = FLIGHTS.model_copy(update={"task": "multiclass"})
ASKED = datetime(2013, 1, 7, 12, tzinfo=UTC)
MOMENT = int(ASKED.timestamp() * 1e6)


def frame(pipeline=FLIGHTS, **changes: Any) -> bytes:
    plain = {
        "ids": ["a", "b"],
        "event_times": [ASKED, ASKED],
        "predictions": [0.5, -1.0],
        "segments": {"origin": ["JFK", "LGA"], "carrier": ["UA", "AA"]},
        "model_version": "3",
        "recorded_at": MOMENT,
    }
    return frame_of(pipeline, **(plain | changes))


def columns(*frames: bytes) -> dict[str, list[Any]]:
    return rows_in(frames).to_pydict()


def test_a_request_comes_back_as_it_was():
    assert columns(frame(labels=[1.0, None], sketch=[[1.0, 2.0], [3.0, 4.0]])) == {
        "instance_id": ["a", "b"],
        "event_time": [ASKED, ASKED],
        "model_version": ["3", "3"],
        "recorded_at": [ASKED, ASKED],
        "prediction": [0.5, -1.0],
        "logits": [None, None],
        "statistics": [None, None],
        "label": [1.0, None],
        "loss": [None, None],
        "segments": [["JFK", "UA"], ["LGA", "AA"]],
        "sketch": [[1.0, 2.0], [3.0, 4.0]],
        "propensity": [None, None],
        "probability": [None, None],
    }


def test_requests_of_every_form_stand_in_one_segment():
    one = {"ids": [7], "event_times": [None], "segments": {"origin": [None], "carrier": ["Ä"]}}
    found = columns(
        frame(sketch=[[1.0], [2.0]]),
        frame(**one, predictions=[0.9], kind="probability", labels=[float("nan")]),
        frame(model_version=4, sketch=np.zeros((2, 0))),
        frame(**(one | {"ids": [None]}), predictions=[1e300]),
    )
    assert found["instance_id"] == ["a", "b", "7", "a", "b", None]
    assert found["event_time"] == [ASKED, ASKED, None, ASKED, ASKED, None]
    assert found["model_version"] == ["3", "3", "3", "4", "4", "3"]
    assert found["prediction"] == [0.5, -1.0, None, 0.5, -1.0, 1e300]
    assert found["probability"] == [None, None, 0.9, None, None, None]
    assert str(found["label"]) == "[None, None, nan, None, None, None]"
    assert found["segments"][2] == ["", "Ä"]
    assert found["sketch"] == [[1.0], [2.0], None, [], [], None]


def test_logits_of_classes():
    logits = np.array([[0.25, 0.5, 1.0], [1.0, 2.0, 3.0]])
    found = columns(frame(CLASSES, predictions=logits), frame(CLASSES, predictions=logits[:, :2]))
    assert found["logits"] == [[0.25, 0.5, 1.0], [1.0, 2.0, 3.0], [0.25, 0.5], [1.0, 2.0]]
    assert found["prediction"] == found["probability"] == [None] * 4


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_torch_batches(kind):
    grown = torch.tensor([0.5, -1.0], dtype=kind, requires_grad=True)
    sketch = torch.ones(2, 16, dtype=kind).T.T  # not where NumPy would have laid it
    found = columns(
        frame(ids=torch.tensor([4, 5]), predictions=grown * 1, sketch=sketch, labels=grown > 0)
    )
    assert found["instance_id"] == ["4", "5"]
    assert found["prediction"] == [0.5, -1.0]
    assert found["label"] == [1.0, 0.0]
    assert found["sketch"] == [[1.0] * 16] * 2


def test_numpy_batches_of_any_layout():
    wide = np.arange(8.0).reshape(2, 4)
    found = columns(
        frame(
            ids=np.array(["a", "b"]),
            event_times=np.array([ASKED.replace(tzinfo=None)] * 2, "datetime64[ns]"),
            predictions=wide[:, 1].astype(">f4"),
            sketch=np.asfortranarray(wide)[:, ::2],
            segments={name: np.array(["x", "y"], object) for name in ("origin", "carrier")},
        )
    )
    assert found["event_time"] == [ASKED, ASKED]
    assert found["prediction"] == [1.0, 5.0]
    assert found["sketch"] == [[0.0, 2.0], [4.0, 6.0]]
    assert found["segments"] == [["x", "x"], ["y", "y"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": ["a", "\ud800"]}, "is not text"),
        ({"segments": {"origin": ["JFK", 3], "carrier": ["UA", "AA"]}}, r"segments\.origin: a key"),
        ({"segments": {"origin": ["JFK"], "carrier": ["UA", "AA"]}}, r"'segments\.origin': 1"),
        ({"segments": None}, "the pipeline declares"),
        (
            {"event_times": np.array(["20000-01-01"] * 2, "datetime64[D]")},
            "not in the years 1 to 9999",
        ),
        ({"event_times": [ASKED]}, "'event_time': 1"),
    ],
)
def test_law_7_what_could_not_be_stored_later_is_refused_at_once(changes, words):
    with pytest.raises(ConfigurationError, match=f"{words}.*Remedy"):
        frame(**changes)


def test_a_frame_of_another_release_is_told_and_not_guessed_at():
    with pytest.raises(DataQualityError, match="format 255, this release reads 1"):
        rows_in([struct.pack("<BI", 255, 0)])
