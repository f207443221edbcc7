"""`tenforward estimate`: a refresh's draw judges a challenger, or an answer, on all instances."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from deltalake import DeltaTable as Snapshot

from inference.registered import find_version
from inference.scorer import load_scorer
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from spark_jobs.estimate import main, predictors
from spark_jobs.estimation.answers import read_answers, with_answers, write_list
from spark_jobs.estimation.frame import SamplingFrame, frame_from
from spark_jobs.storage.warehouse import Warehouse
from tenforward import estimate, read_refresh
from tests.helpers.flights_loop import PIPELINE

# One row each: drawn, not drawn, drawn but learnt from, taught by every draw, without a record,
# held out.
NAMES = ["drawn", "undrawn", "learnt", "sure", "unrecorded", "held"]
GIVEN = pa.table(
    {
        "instance_id": NAMES,
        "held_out": [False, False, False, False, False, True],
        "label": [1.0, 0.0, 1.0, 0.0, 1.0, 1.0],
        "loss": [0.5, 0.25, 1.0, 2.0, None, None],
        "score": [0.4, 0.2, 0.6, 0.9, 1.0, None],
        "probability": [0.4, 0.2, 0.6, 0.9, 1.0, 1.0],
        "drawn": [True, False, True, True, True, True],
        "prediction": [0.4, -1.3, -0.5, 1.9, None, 0.0],
        "logits": pa.nulls(6, pa.list_(pa.float32())),
        "statistics": pa.nulls(6, pa.list_(pa.float32())),
        "segments": [["EWR"], ["JFK"], ["EWR"], ["JFK"], None, ["LGA"]],
        "sketch": pa.nulls(6, pa.list_(pa.float32())),
        "learnt": [False, False, True, True, False, False],
        "unlearnt": [0.5, 0.8, 0.5, 0.0, 1.0, 1.0],
    }
)


def test_rows_that_a_model_may_have_learnt_from_leave_with_their_chances_put_right() -> None:
    frame = frame_from(GIVEN, "binary", ("origin",))
    wanted = [
        ("drawn", 0.2, True, 0.5, "EWR"),
        ("undrawn", 0.16, False, 0.25, "JFK"),
        ("learnt", 0.3, False, 1.0, "EWR"),
        ("held", 1.0, True, np.log(2), "LGA"),
    ]
    columns = ["instance_id", "probability", "drawn", "loss", "segment origin"]
    found = [tuple(row.values()) for row in frame.rows.select(columns).to_pylist()]
    assert [row[0] for row in found] == [row[0] for row in wanted]
    for row, expected in zip(found, wanted, strict=True):
        assert row == pytest.approx(expected), row[0]
    assert frame.counts == {
        "rows": 4,
        "drawn": 2,
        "held_out": 1,
        "without_record": 1,
        "sure_to_be_learnt": 1,
    }


def test_a_frame_without_a_drawn_row_is_refused() -> None:
    with pytest.raises(NoDataError, match=r"no drawn row is left of 2.*Remedy"):
        frame_from(GIVEN.take([1, 2]), "binary", ("origin",))


def test_records_of_classes_and_of_values_have_their_losses_and_residuals() -> None:
    rows = GIVEN.take([0, 5]).drop_columns(["learnt", "unlearnt"])
    value = frame_from(rows, "regression", ("origin",)).rows
    assert value["loss"].to_pylist() == [0.5, pytest.approx(0.5 * (0.0 - 1.0) ** 2)]
    assert value["residual"].to_pylist() == [pytest.approx(0.4 - 1.0), -1.0]
    logits = pa.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], pa.list_(pa.float32()))
    classes = changed(changed(rows, "prediction", pa.nulls(2, pa.float64())), "logits", logits)
    found = frame_from(classes, "multiclass", ("origin",)).rows
    assert found["loss"].to_pylist() == [0.5, pytest.approx(np.log(3))]
    assert found["residual"].to_pylist()[1] == pytest.approx([1 / 3, 1 / 3 - 1, 1 / 3])
    assert predictors(found, "multiclass") == ["loss", "segments"]
    assert predictors(value, "regression") == ["loss", "label", "residual", "residual*segments"]


def changed(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.names.index(name), name, values)


def answers(ids: list[str], **columns: list[Any]) -> pa.Table:
    return pa.table({"instance_id": ids, **columns})


def test_answers_join_by_id_and_those_about_others_are_counted() -> None:
    frame = frame_from(GIVEN, "binary", ("origin",))
    found = with_answers(frame, answers(["held", "drawn", "nobody"], bad=[3, 1, 2]))
    assert found.rows["bad"].to_pylist() == [1, None, None, 3]
    assert found.counts["not_asked"] == 1


def test_held_out_rows_about_which_nobody_was_asked_are_outside() -> None:
    frame = frame_from(GIVEN, "binary", ("origin",))
    found = with_answers(frame, answers(["drawn"], bad=[True]))
    assert found.rows["instance_id"].to_pylist() == ["drawn", "undrawn", "learnt"]
    assert found.counts["held_out_not_asked"] == 1
    assert (found.counts["rows"], found.counts["drawn"]) == (3, 1)


def test_half_of_the_held_out_rows_are_no_hold_out() -> None:
    twice = pa.concat_tables([GIVEN, GIVEN.take([5])])
    frame = frame_from(twice.set_column(0, "instance_id", [[*NAMES, "held2"]]), "binary", ())
    with pytest.raises(DataQualityError, match=r"1 of 2 held-out rows are answered.*Remedy"):
        with_answers(frame, answers(["drawn", "held"], bad=[True, False]))


def test_a_list_is_written_once_and_read_back_as_answers(tmp_path: Path) -> None:
    frame: SamplingFrame = frame_from(GIVEN, "binary", ("origin",))
    file = tmp_path / "asked.csv"
    assert write_list(frame, file) == 2
    assert csv.read_csv(file).to_pydict() == {
        "instance_id": ["drawn", "held"],
        "held_out": [False, True],
    }
    with pytest.raises(ConfigurationError, match=r"it is there.*Remedy"):
        write_list(frame, file)
    assert read_answers(file, ["held_out"]).num_rows == 2
    with pytest.raises(ConfigurationError, match=r"no column 'bad'; it has instance_id, held_out"):
        read_answers(file, ["bad"])
    file.write_text("instance_id,bad,bad\n7,1,1\n")
    with pytest.raises(ConfigurationError, match=r"the column 'bad' stands 2 times\. Remedy"):
        read_answers(file, ["bad"])
    file.write_text("instance_id,bad\n7,1\n7,0\n")
    with pytest.raises(DataQualityError, match="'7' stands 2 times"):
        read_answers(file, ["bad"])


# --- the command, on the two days of the loop ---


def told(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["--pipeline", PIPELINE, *arguments])
    return code, json.loads(capfd.readouterr().out)


def candidates(warehouse: Warehouse, refresh: str) -> pa.Table:
    table = Snapshot(warehouse.path("selection_probabilities"))
    return table.to_pyarrow_table(filters=[("refresh_id", "=", refresh)])


def losses_of(warehouse: Warehouse, version: str, refresh: str, part: str) -> dict[str, float]:
    """The loss of a version on the rows of a refresh, with the encoded features stored there."""
    rows = read_refresh(warehouse.root, refresh, part)
    scorer = load_scorer(find_version("flights", version, warehouse.root).folder)
    names = [feature.name for feature in scorer.card.features]
    logit = scorer.score({name: rows[name].to_numpy() for name in names}).prediction
    label = rows["label"].to_numpy()
    loss = np.logaddexp(0, logit) - label * logit
    return dict(zip(rows["instance_id"].to_pylist(), loss.tolist(), strict=True))


def test_a_challenger_is_judged_on_all_traffic_by_the_next_refresh(
    loop: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """Version 2 learnt on the first day, which the second day's window holds as well: against
    tables put together by hand."""
    warehouse: Warehouse = loop["warehouse"]
    first, second = (day["select"]["refresh_id"] for day in loop["days"])
    place = "--warehouse", warehouse.root, "--refresh", second
    code, found = told(capfd, *place, "--challenger", "2", "--auxiliary", "loss")
    assert code == 0
    of = {name: candidates(warehouse, name).to_pylist() for name in (first, second)}
    taught = {row["instance_id"]: row for row in of[first]}
    losses = losses_of(warehouse, "2", second, "sampled")
    rows = []
    for row in of[second]:
        before = taught.get(row["instance_id"], {"drawn": False, "probability": 0.0})
        rows.append(
            {
                "probability": row["probability"] * (1 - before["probability"]),
                "drawn": row["drawn"] and not before["drawn"],
                "loss": row["loss"],
                "gain": losses.get(row["instance_id"], np.nan) - row["loss"],
            }
        )
    held = losses_of(warehouse, "2", second, "holdout")
    records = Snapshot(warehouse.path("forward_records")).to_pyarrow_table()
    labels = read_refresh(warehouse.root, second, "holdout").to_pylist()
    logits = {row["instance_id"]: row["prediction"] for row in records.to_pylist()}
    for row in labels:
        if row["instance_id"] in logits:
            logit = logits[row["instance_id"]]
            loss = np.logaddexp(0, logit) - row["label"] * logit
            gain = held[row["instance_id"]] - loss
            rows.append({"probability": 1.0, "drawn": True, "loss": loss, "gain": gain})
    (slow,) = estimate(pa.Table.from_pylist(rows), "gain", ["loss"]).to_pylist()
    (line,) = found["estimates"]
    assert {name: line[name] for name in ("rows", "drawn")} == {
        "rows": slow["rows"],
        "drawn": slow["drawn"],
    }
    for name in ("estimate", "standard_error", "low", "high"):
        assert line[name] == pytest.approx(slow[name], rel=1e-4, abs=1e-7), name
    assert line["served_loss"] == pytest.approx(np.mean([row["loss"] for row in rows]), rel=1e-6)
    assert found["forward_passes"] == slow["drawn"]


def test_a_model_is_not_judged_by_the_draw_that_taught_it(
    loop: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    second = loop["days"][1]["select"]["refresh_id"]
    place = "--warehouse", loop["warehouse"].root, "--refresh"
    code, found = told(capfd, *place, second, "--challenger", "3")
    assert (code, found["error"].split(":")[0]) == (2, "version 3")
    assert "no drawn row is left to judge it by" in found["error"]
    code, found = told(capfd, *place, "2013-01-09-none", "--challenger", "3")
    assert (code, "no such refresh" in found["error"]) == (3, True)
    code, found = told(capfd, *place, second, "--challenger", "3", "--by", "tail")
    assert (code, "--by = tail: no segment" in found["error"]) == (2, True)
    code, found = told(capfd, *place, second, "--challenger", "3", "--auxiliary", "mood")
    assert (code, "--auxiliary = mood: not known of every row" in found["error"]) == (2, True)
    code, found = told(capfd, *place, second, "--answers", "x.csv")
    assert (code, "Remedy: add --value" in found["error"]) == (2, True)


def test_answers_and_segments_may_be_called_like_columns_of_the_frame(tmp_path: Path) -> None:
    names = ["label", "loss", "score", "origin", "instance_id", "probability"]
    frame = frame_from(GIVEN, "binary", ("score",))
    assert frame.rows["score"].to_pylist()[:2] == [0.4, 0.2]
    assert frame.rows["segment score"].to_pylist()[:2] == ["EWR", "JFK"]
    file = tmp_path / "answers.csv"
    file.write_text(f"instance_id,{','.join(names[:4])},probability\ndrawn,7,8,9,5,6\n")
    found = with_answers(frame, read_answers(file, names)).rows
    assert found["label"].to_pylist() == [1.0, 0.0, 1.0]
    assert [found[f"answer {name}"][0].as_py() for name in names] == [7, 8, 9, 5, "drawn", 6]


def test_answers_about_the_drawn_are_estimated_over_all(
    loop: dict[str, Any], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Asked is whether a flight was late, which is known of all here: the truth is the mean label
    of the candidates."""
    warehouse: Warehouse = loop["warehouse"]
    second = loop["days"][1]["select"]["refresh_id"]
    drawn = read_refresh(warehouse.root, second, "sampled")
    file = tmp_path / "answers.csv"
    csv.write_csv(
        drawn.select(["instance_id", "label", "label"]).rename_columns(
            ["instance_id", "late", "label"]
        ),
        file,
    )
    place = "--warehouse", warehouse.root, "--refresh", second
    code, found = told(
        capfd, *place, "--answers", str(file), "--value", "late", "--auxiliary", "label"
    )
    assert code == 0
    labels = candidates(warehouse, second)["label"].to_numpy()
    (line,) = found["estimates"]
    assert (line["rows"], line["drawn"]) == (len(labels), drawn.num_rows)
    assert line["estimate"] == pytest.approx(labels.mean(), rel=1e-9)
    assert found["frame"]["held_out_not_asked"] > 0
    (again,) = told(
        capfd, *place, "--answers", str(file), "--value", "label", "--auxiliary", "label"
    )[1]["estimates"]
    assert again == line
    of_both = "--value", "label", "--over", "late", "--by", "origin"
    code, found = told(capfd, *place, "--answers", str(file), *of_both)
    assert (code, found["value"]) == (0, "label")
    assert [one["estimate"] for one in found["estimates"]] == pytest.approx([1.0] * 3)
