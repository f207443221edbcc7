"""`tenforward diff`: inputs, settings, rows, totals and models of two refreshes, side by side."""

import json
from typing import Any

import pyarrow as pa
import pytest

import tenforward
from console.changed_rows import changed_rows
from console.diff import diff
from schemas.errors import NoDataError
from tests.helpers.flights_loop import PIPELINE


def candidates(*rows: tuple[str, str, float, float, bool]) -> pa.Table:
    """Candidates: id, model version, label, probability, drawn."""
    names = ["instance_id", "model_version", "label", "probability", "drawn"]
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})


A = candidates(
    ("gone", "1", 0.0, 0.5, True),
    ("same", "1", 1.0, 0.4, True),
    ("moved", "1", 0.0, 0.1, False),
    ("relabelled", "1", 0.0, 0.2, True),
)
B = candidates(
    ("relabelled", "1", 1.0, 0.3, True),
    ("new", "2", 0.0, 0.5, True),
    ("moved", "2", 0.0, 0.9, True),
    ("same", "1", 1.0, 0.4, False),
)


def test_rows_are_counted_by_where_they_are():
    assert changed_rows(A, B)["rows"] == {
        "candidates_both": 3,
        "candidates_only_a": 1,
        "candidates_only_b": 1,
        "drawn_both": 1,
        "drawn_only_a": 2,
        "drawn_only_b": 2,
        "probability_moved": 2,
        "mean_move": pytest.approx((0.8 + 0.1) / 3),
        "other_record": 1,
        "other_label": 1,
    }


def test_the_rows_that_moved_most_are_named_first():
    moved = changed_rows(A, B)["moved_most"]
    assert [one["instance_id"] for one in moved] == ["moved", "relabelled"]
    assert (moved[0]["probability_a"], moved[0]["probability_b"]) == (0.1, 0.9)
    assert (moved[0]["drawn_a"], moved[0]["drawn_b"]) == (False, True)


def test_nothing_moves_between_a_refresh_and_itself():
    rows = changed_rows(A, A)["rows"]
    assert (rows["candidates_both"], rows["drawn_both"], rows["probability_moved"]) == (4, 3, 0)
    assert changed_rows(A, A)["moved_most"] == []


def test_no_candidate_in_common_moves_nothing():
    assert changed_rows(A, B.slice(1, 1))["rows"]["mean_move"] == 0.0


def by(rows: list[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    return {row[name]: row for row in rows}


def test_two_days_differ_in_what_they_read_and_not_in_settings(loop, capfd):
    warehouse = loop["warehouse"]
    first, second = (day["select"] for day in loop["days"])
    where = ["--pipeline", PIPELINE, "--warehouse", warehouse.root]
    pair = [first["refresh_id"], second["refresh_id"]]
    assert tenforward.main(["diff", *pair, *where]) == 0
    out, err = capfd.readouterr()
    told = json.loads(out)
    inputs = by(told["inputs"], "input")
    assert (inputs["ds"]["a"], inputs["ds"]["b"]) == ("2013-01-07", "2013-01-08")
    assert inputs["versions.forward_records"]["a"] < inputs["versions.forward_records"]["b"]
    own = {one["setting"] for one in told["settings"]}
    assert "seed" in own
    assert not any(one.startswith("selection.") for one in own)
    sums = by(told["totals"], "total")
    assert (sums["drawn"]["a"], sums["drawn"]["b"]) == (first["drawn"], second["drawn"])
    assert sums["sum_probability"]["b"] == pytest.approx(second["drawn"])
    assert sums["mean_loss"]["a"] > 0
    rows = told["rows"]
    assert rows["candidates_both"] + rows["candidates_only_b"] == second["candidates"]
    assert rows["drawn_both"] + rows["drawn_only_a"] == first["drawn"]
    assert {one["segment"] for one in told["segments"]} == {"origin", "carrier"}
    trained = {day["train"]["version"] for day in loop["days"]}
    assert {one["version"] for one in told["models"]} == trained
    assert "input ds: 2013-01-07 -> 2013-01-08" in err


def test_a_bootstrap_and_a_refresh_differ_in_policy_and_rows(loop):
    warehouse = loop["warehouse"]
    pair = loop["bootstrap"]["refresh_id"], loop["days"][0]["select"]["refresh_id"]
    told = diff(warehouse.pipeline, warehouse.root, *pair)
    assert by(told["totals"], "total")["mean_loss"]["a"] is None  # it had no records
    assert told["rows"]["candidates_both"] == 0
    assert by(told["settings"], "setting")["decided.budget"]["a"] == "1"


def test_a_refresh_that_is_not_there_is_refused_by_its_place(loop):
    warehouse, there = loop["warehouse"], loop["days"][0]["select"]["refresh_id"]
    with pytest.raises(NoDataError, match="B = nothing: no such refresh"):
        diff(warehouse.pipeline, warehouse.root, there, "nothing")
