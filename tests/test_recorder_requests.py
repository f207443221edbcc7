"""A request is looked at whole before a byte of it is written: all of it is taken, or none."""

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
import torch

from reference.plain_tables import record_tables, stored
from schemas.errors import ConfigurationError
from tests.helpers.recording import ASKED, KEYS, opened

GOOD = {"ids": ["a", "b"], "event_times": [ASKED] * 2, "predictions": [0.5, 1.5], "segments": KEYS}

REFUSED = {
    "ids are one text": ({"ids": "ab"}, "ids: a str"),
    "ids are bytes": ({"ids": [b"a", b"b"]}, "ids: b'a' is a bytes"),
    "ids are one bytes": ({"ids": b"ab"}, "ids: a bytes"),
    "ids are numpy bytes": ({"ids": np.array([b"a", b"b"])}, "ids: b'a' is a bytes"),
    "ids are a column": ({"ids": np.array([[1], [2]])}, "ids: 2 dimensions"),
    "ids are floats": ({"ids": [1e15, 2.0]}, "ids: 1000000000000000.0 is a float"),
    "ids are a float column of pandas": ({"ids": pd.Series([1.0, None])}, "ids: 1.0 is a float"),
    "an id is NaN": ({"ids": ["a", float("nan")]}, "ids: nan is a float"),
    "an id is a truth value": ({"ids": ["a", True]}, "ids: True is a bool"),
    "an id is a list": ({"ids": ["a", ["b"]]}, r"ids: \['b'\] is a list"),
    "ids are a set": ({"ids": {"a", "b"}}, "ids: a set"),
    "ids are a number": ({"ids": 7}, "ids: 'int' object is not iterable"),
    "times are a matrix": (
        {"event_times": np.full((2, 2), "2013-01-07", "datetime64[s]")},
        "event_times: 2 dimensions",
    ),
    "times are text": ({"event_times": ["2013-01-07T12:00Z"] * 2}, "'2013-01-07T12:00Z' is a str"),
    "times are dates": ({"event_times": [date(2013, 1, 7)] * 2}, "is a date"),
    "times are epoch seconds": ({"event_times": [1357560000] * 2}, "1357560000 is a int"),
    "times are numbers of NumPy": ({"event_times": np.array([1, 2])}, "1 is a int"),
    "times are beyond the calendar": (
        {"event_times": np.array([300_000, 300_000_000], "datetime64[Y]")},
        "years 1 to 9999",
    ),
    "times wrap round": (
        {"event_times": np.array([2**40, 2**55], "datetime64[s]")},
        "years 1 to 9999",
    ),
    "predictions are text": ({"predictions": ["0.5", "1.5"]}, "predictions: <U3"),
    "predictions are truth values": ({"predictions": [True, False]}, "predictions: bool"),
    "predictions are complex": ({"predictions": [1j, 2j]}, "predictions: complex128"),
    "predictions are times": (
        {"predictions": np.array(["2013"] * 2, "datetime64[Y]")},
        "predictions: datetime64",
    ),
    "a prediction is text": ({"predictions": np.array([0.5, "x"], object)}, "'x' is a str"),
    "predictions are ragged": ({"predictions": [[0.5], [1.5, 2.0]]}, "predictions: "),
    "predictions are a number": ({"predictions": 0.5}, "predictions: "),
    "labels are a column": ({"labels": np.zeros((2, 1))}, "labels: 2 dimensions"),
    "labels are a matrix beside a sketch": (
        {"labels": np.zeros((2, 2)), "sketch": np.zeros((2, 3))},
        "labels: 2 dimensions",
    ),
    "labels are text": ({"labels": ["1", "0"]}, "labels: <U1"),
    "a label is text": ({"labels": [1, "0"]}, "labels: <U21"),
    "labels are one number": ({"labels": np.float64(1)}, "labels: 0 dimensions"),
    "the sketch is text": ({"sketch": [["a"], ["b"]]}, "sketch: <U1"),
    "the sketch is a row": ({"sketch": [0.5, 1.5]}, "sketch: 1 dimensions"),
    "segments are one text": ({"segments": KEYS | {"carrier": "UA"}}, "segments.carrier: a str"),
    "a key is 0": ({"segments": KEYS | {"carrier": [0, "UA"]}}, "segments.carrier: a key is not text: 0 is a int"),
    "a key is False": ({"segments": KEYS | {"carrier": ["UA", False]}}, "False is a bool"),
    "a key is bytes": ({"segments": KEYS | {"carrier": ["UA", b"AA"]}}, "is a bytes"),
    "a key is NaN": ({"segments": KEYS | {"carrier": ["UA", float("nan")]}}, "is a float"),
    "keys are a matrix": (
        {"segments": KEYS | {"carrier": np.array([["UA"], ["AA"]])}},
        "segments.carrier: 2 dimensions",
    ),
    "keys are a dictionary": ({"segments": KEYS | {"carrier": {"UA": 1, "AA": 2}}}, "a dict"),
    "segments are a list": ({"segments": ["UA", "AA"]}, r"segments: \['UA', 'AA'\] given"),
    "no segments": ({"segments": None}, r"segments: \[\] given"),
    "one more segment": ({"segments": KEYS | {"plane": ["a", "b"]}}, "'plane'"),
    "the version is NaN": ({"model_version": float("nan")}, "model_version = nan"),
    "the version is bytes": ({"model_version": b"3"}, "model_version = b'3'"),
    "fewer ids": ({"ids": ["a"]}, "rows for 1 ids"),
    "an id that is no text": ({"ids": ["a", "\ud800"]}, "is not text"),
}


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    root = record_tables(tmp_path_factory.mktemp("requests"))
    with opened(root, file_age_s=60) as made:
        yield made


@pytest.mark.parametrize("name", REFUSED)
def test_law_7_a_request_that_no_row_can_hold_is_refused_whole(recorder, name):
    changed, words = REFUSED[name]
    before = recorder.metrics()
    with pytest.raises(ConfigurationError, match=words) as told:
        recorder.record(**(GOOD | changed))
    assert "Remedy: " in str(told.value)
    after = recorder.metrics()
    assert (after.recorded, after.journal_bytes) == (before.recorded, before.journal_bytes)


def test_what_is_a_sequence_of_the_right_things_is_taken(tmp_path):
    root = record_tables(tmp_path)
    east = datetime(2013, 1, 7, 12, tzinfo=UTC)
    accepted = {
        "ids": [
            [1, 2],
            np.array([3, 4]),
            ("c", "d"),
            pd.Series(["e", "f"]),
            torch.tensor([5, 6]),
            [UUID(int=7), UUID(int=8)],
            (one for one in ["g", "h"]),
            {"i": 1, "j": 2}.keys(),
        ],
        "event_times": [
            np.array(["2013-01-07T12:00"] * 2, "datetime64[m]"),
            pd.Series([pd.Timestamp(east)] * 2),
            [np.datetime64("2013-01-07T12:00")] * 2,
            (one for one in [east, east]),
            pd.DatetimeIndex([east, east]),
        ],
        "predictions": [
            [1, 2],
            np.array([1, 2], np.uint8),
            torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
            pd.Series([1.0, 2.0]),
            (one for one in [1.0, 2.0]),
            [Decimal(1), None],
        ],
        "labels": [[1, None], [True, False], np.array([1.0, None], object), torch.tensor([1, 0])],
    }
    requests = [{name: one} for name, given in accepted.items() for one in given]
    with opened(root) as recorder:
        for number, one in enumerate(requests):
            ids = {} if "ids" in one else {"ids": [f"{number}-a", f"{number}-b"]}
            recorder.record(**(GOOD | ids | one))
        metrics = recorder.metrics()
    assert metrics.recorded == 2 * len(requests)
    times = {row["event_time"] for row in stored(root)}
    assert times == {east}
    assert len(stored(root)) == 2 * len(requests) - 1
    assert len(stored(root, "forward_rejects")) == 1  # the prediction that is None


def test_a_generator_is_taken_once_and_a_retry_stores_no_row_twice(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        recorder.record(**(GOOD | {"ids": (one for one in ["a", "b"])}))
    assert [row["instance_id"] for row in stored(root)] == ["a", "b"]


def test_an_empty_request_writes_nothing(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        recorder.record([], [], [], segments={"origin": [], "carrier": []})
        recorder.record([], [], np.zeros(0), segments={"origin": [], "carrier": []}, labels=[])
        assert recorder.metrics().journal_bytes == 0
    assert stored(root) == []


def test_a_version_of_the_request_goes_before_the_recorders_and_0_is_one(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        recorder.record(**GOOD, model_version=0)
    assert {row["model_version"] for row in stored(root)} == {"0"}
