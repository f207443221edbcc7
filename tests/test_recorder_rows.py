"""A request's arrays become rows, and each row that cannot be used gets its reason."""

import math
from datetime import timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest

from inference.recording.frame import frame_of
from inference.recording.rows import rows_in
from inference.recording.usable import ROW, faults
from schemas import reasons
from schemas.errors import ConfigurationError
from schemas.rules import rules_of
from spark_jobs.candidates.rejects import first_fault
from tests.helpers.recording import ASKED, FLIGHTS, KEYS

FIXED = {"model_version": "3", "recorded_at": int(ASKED.timestamp() * 1e6)}


def rows_of(*request, **given) -> pa.Table:
    """A request as it comes out of the journal."""
    return rows_in([frame_of(*request, **given, **FIXED)])


def test_times_are_utc_and_a_naive_one_is_refused(tmp_path):
    east = ASKED.astimezone(timezone(timedelta(hours=9)))
    rows = rows_of(FLIGHTS, ["a", "b"], [ASKED, east], [0, 0], segments=KEYS)
    assert rows["event_time"].to_pylist() == [ASKED, ASKED]
    stamps = np.array(["2013-01-07T12:00"] * 2, "datetime64[m]")
    rows = rows_of(FLIGHTS, ["a", "b"], stamps, [0, 0], segments=KEYS)
    assert rows["event_time"].to_pylist() == [ASKED, ASKED]
    with pytest.raises(ConfigurationError, match="has no time zone"):
        rows_of(FLIGHTS, ["a", "b"], [ASKED.replace(tzinfo=None)] * 2, [0, 0], segments=KEYS)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"predictions": [0.1]}, "'prediction': 1"),
        ({"predictions": [[0.1], [0.2]]}, r"give \(n,\)"),
        ({"labels": [1.0, 0.0, 1.0]}, "'label': 3"),
        (
            {"segments": {"origin": ["JFK", "LGA"]}},
            r"the pipeline declares \['carrier', 'origin'\]",
        ),
        ({"kind": "value"}, "a binary pipeline records probability or logit"),
        ({"sketch": [0.5, 1.0]}, r"give \(n, width\)"),
    ],
)
def test_law_7_arrays_that_do_not_belong_together_are_refused(changed, words):
    given = {"ids": ["a", "b"], "event_times": [ASKED] * 2, "predictions": [0, 0], "segments": KEYS}
    with pytest.raises(ConfigurationError, match=words):
        rows_of(FLIGHTS, **(given | changed))


BAD = {
    "empty id": ({"instance_id": ""}, reasons.MISSING),
    "no event time": ({"event_time": None}, reasons.MISSING),
    "NaN": ({"prediction": math.nan}, reasons.NOT_FINITE),
    "infinite": ({"prediction": -math.inf}, reasons.NOT_FINITE),
    "label NaN": ({"label": math.nan}, reasons.NOT_FINITE),
    "sketch NaN": ({"sketch": [1.0, math.nan]}, reasons.NOT_FINITE),
    "none": ({"prediction": None}, reasons.NO_PREDICTION),
    "wide sketch": ({"sketch": [0.0] * 17}, reasons.WRONG_ARITY),
    "future": ({"event_time": ASKED + timedelta(minutes=6)}, reasons.FUTURE_EVENT),
    "good": ({}, None),
    "good, with a sketch": ({"sketch": [1.0] * 16, "label": 1.0}, None),
}


def judged_rows() -> pa.Table:
    plain = {
        "instance_id": "a",
        "event_time": ASKED,
        "model_version": "3",
        "recorded_at": ASKED,
        "prediction": 0.5,
        "segments": ["JFK", "UA"],
    }
    return pa.Table.from_pylist([plain | changes for changes, _ in BAD.values()], schema=ROW)


def test_the_reason_of_each_bad_row():
    found = faults(judged_rows(), FLIGHTS).to_pylist()
    assert dict(zip(BAD, found, strict=True)) == {name: why for name, (_, why) in BAD.items()}


def test_law_6_recorder_and_selection_give_the_same_reasons(spark):
    rows = spark.createDataFrame(judged_rows().drop_columns(["probability"]))
    judged = rows.select(first_fault(rules_of(FLIGHTS).record).alias("fault")).collect()
    assert [row["fault"] for row in judged] == faults(judged_rows(), FLIGHTS).to_pylist()
