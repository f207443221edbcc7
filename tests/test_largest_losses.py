"""The candidates with the largest losses, on the report card: where wrong labels are looked for."""

import math

import pyarrow as pa
import pytest

from spark_jobs.refresh.largest_losses import MOST, largest, told
from spark_jobs.report.card import render
from tests.helpers.flights_loop import manifest_of


def candidates(*losses: tuple[str, float]) -> pa.Table:
    """Candidates: id and loss; the others are alike."""
    rows = [
        {"instance_id": one, "loss": loss, "model_version": "3", "label": 1.0}
        | {"probability": 0.25, "drawn": one < "c", "score": 0.0}
        for one, loss in losses
    ]
    return pa.Table.from_pylist(rows)


def test_of_all_files_the_largest_come_first_and_ties_go_by_id():
    files = [candidates(("d", 2.0), ("a", 0.1)), candidates(("b", 2.0), ("c", 7.0))]
    found = told(map(largest, files), "binary")
    assert [(one["instance_id"], one["loss"]) for one in found] == [
        ("c", 7.0), ("b", 2.0), ("d", 2.0), ("a", 0.1),
    ]  # fmt: skip
    assert found[0] == {
        "instance_id": "c", "model_version": "3", "label": 1.0, "loss": 7.0,
        "probability": 0.25, "drawn": False, "chance_of_label": math.exp(-7.0),
    }  # fmt: skip


def test_there_are_ten_whatever_the_files():
    many = [(f"{number:03}", float(number)) for number in range(100)]
    for size in (7, 30, 100):
        files = [candidates(*many[at : at + size]) for at in range(0, 100, size)]
        assert [one["loss"] for one in told(map(largest, files), "binary")] == [
            99.0 - place for place in range(MOST)
        ]


def test_a_regression_says_how_far_it_was_off():
    [found] = told([candidates(("a", 8.0))], "regression")
    assert found["error"] == pytest.approx(4.0)
    assert "chance_of_label" not in found


def test_the_card_names_them(loop):
    warehouse, selected = loop["warehouse"], loop["days"][1]["select"]
    report = manifest_of(warehouse, selected["refresh_id"]).report
    rows = warehouse.read("selection_probabilities").toArrow()
    mine = rows.filter(pa.compute.equal(rows["refresh_id"], selected["refresh_id"]))
    worst = mine.sort_by([("loss", "descending")]).slice(0, MOST)
    assert [one["instance_id"] for one in report["largest_losses"]] == (
        worst["instance_id"].to_pylist()
    )
    page = render(report)
    assert "Largest losses" in page
    assert worst["instance_id"][0].as_py() in page


def test_a_refresh_of_before_has_no_such_table(loop):
    report = manifest_of(loop["warehouse"], loop["days"][1]["select"]["refresh_id"]).report
    page = render({name: value for name, value in report.items() if name != "largest_losses"})
    assert "Largest losses" not in page
