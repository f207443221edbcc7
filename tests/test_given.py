"""What `draw` takes: tables and data frames, and no row that the warehouse would reject."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from schemas.errors import ConfigurationError, DataQualityError
from schemas.statistics import statistics
from spark_jobs.selection import draw
from spark_jobs.selection.from_arrow import from_arrow
from tests.helpers.logged_records import binary_records, multiclass_records, regression_records

N = 60
TABLES = {
    "binary": binary_records(N),
    "multiclass": multiclass_records(N),
    "regression": regression_records(N),
}
MANY = np.random.default_rng(1).normal(size=(N, 40))
NAN, INF = float("nan"), float("inf")


def with_value(table: pa.Table, name: str, value: object, row: int = 7) -> pa.Table:
    """The table with another value in one row of a column."""
    values = table[name].to_pylist()
    values[row] = value
    place = table.column_names.index(name)
    kind = pa.float64() if name in ("prediction", "label") else table[name].type
    return table.set_column(place, name, pa.array(values, kind))


def with_column(task: str, name: str, values: list) -> pa.Table:
    table = TABLES[task]
    return (table.drop_columns([name]) if name in table.column_names else table).append_column(
        name, pa.array(values)
    )


def summarised(**changes: object) -> pa.Table:
    """Records with statistics of 40 classes."""
    kept = [list(map(float, row)) for row in statistics(MANY)]
    for row, value in changes.items():
        kept[int(row.removeprefix("row"))] = value
    return with_column("multiclass", "statistics", kept).drop_columns(["logits"])


@pytest.mark.parametrize(
    ("task", "name", "value", "words"),
    [
        ("binary", "label", -1.0, "is not from 0 to 1"),
        ("binary", "label", 2.0, "is not from 0 to 1"),
        ("binary", "label", 0.5, "is not a whole number"),
        ("binary", "label", NAN, "is not from"),
        ("multiclass", "label", 4.0, "is not from 0 to 3"),
        ("multiclass", "label", -1.0, "is not from 0 to 3"),
        ("multiclass", "label", 1.5, "is not a whole number"),
        ("regression", "label", INF, "is not from"),
        *((task, "label", None, "is null") for task in TABLES),
        *(("binary", "prediction", bad, "is not from") for bad in (NAN, INF, -1e31)),
        ("regression", "prediction", None, "is null"),
        ("multiclass", "logits", [0.0, NAN, 0.0, 0.0], "holds a null, or what is not"),
        ("multiclass", "logits", [0.0, None, 0.0, 0.0], "holds a null, or what is not"),
        ("multiclass", "logits", [0.0, INF, 0.0, 0.0], "holds a null, or what is not"),
        ("multiclass", "logits", [0.0, 1.0], "has not 4 entries"),
        ("multiclass", "logits", None, "is null"),
        ("binary", "sketch", [0.0, NAN, 0.0, 0.0], "holds a null, or what is not"),
        ("binary", "sketch", [0.0, 1.0], "has not 4 entries"),
        ("binary", "segments", None, "is null"),
        ("binary", "segments", ["EWR"], "has not 2 entries"),
        ("binary", "instance_id", None, "is null or empty"),
        ("binary", "instance_id", "", "is null or empty"),
    ],
)
def test_what_the_warehouse_rejects_is_refused_with_column_value_and_remedy(
    task, name, value, words
):
    table = with_value(TABLES[task], name, value)
    message = rf"records: {name} {words}.* in 1 of 60 rows, first \{{.*{name}.*Remedy: correct"
    with pytest.raises(DataQualityError, match=message):
        draw(table, task=task)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([NAN] * 36, "holds a null"),
        ([1.0] * 20, "has not 36 entries"),
        ([39.0, *[0.1] * 35], "has not 40 at place 0"),
        (None, "is null"),
    ],
)
def test_statistics_of_many_classes_are_checked_too(bad, words):
    assert draw(summarised())["drawn"].to_numpy().sum() == 6
    with pytest.raises(DataQualityError, match=rf"{words}.* in 1 of 60 rows"):
        draw(summarised(row7=bad))


def test_a_label_beyond_the_classes_of_the_statistics_is_refused():
    with pytest.raises(DataQualityError, match="label is not from 0 to 39"):
        draw(with_value(summarised(), "label", 40.0))


def test_logits_of_many_classes_are_taken_and_checked():
    table = with_column("multiclass", "logits", [list(row) for row in MANY])
    assert draw(table)["drawn"].to_numpy().sum() == 6
    with pytest.raises(DataQualityError, match="logits holds a null"):
        draw(with_value(table, "logits", [NAN, *MANY[7][1:]]))


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("model_version", ["1"] * 59 + [None], "is null or empty"),
        ("event_time", [datetime(2013, 1, 1, tzinfo=UTC)] * 59 + [None], "is null"),
        ("label", ["yes"] * 60, "is string, which cannot be read as double"),
    ],
)
def test_columns_that_may_be_left_out_are_whole_where_they_are_there(name, values, words):
    with pytest.raises(DataQualityError, match=f"{name} {words}.*Remedy"):
        draw(with_column("binary", name, values), task="binary")


def test_a_record_from_the_future_of_its_recording_is_refused():
    table = with_column("binary", "event_time", [datetime(2013, 1, 2, tzinfo=UTC)] * 60)
    table = table.append_column("recorded_at", pa.array([datetime(2013, 1, 1, tzinfo=UTC)] * 60))
    with pytest.raises(
        DataQualityError, match=r"event_time is more than .* after recorded_at in 60"
    ):
        draw(table)


@pytest.mark.parametrize("task", list(TABLES))
def test_selection_itself_has_no_label_beyond_the_classes(task):
    """Also for records that came another way: a label is no index into too few logits."""
    if task == "multiclass":
        with pytest.raises(DataQualityError, match=r"label = 4: .* has 4 classes.*labels.classes"):
            from_arrow(with_value(TABLES[task], "label", 4.0), 1)
        with pytest.raises(DataQualityError, match=r"column logits: null in 1 of 60 records"):
            from_arrow(with_value(TABLES[task], "logits", None), 1)
    else:
        assert from_arrow(TABLES[task], 1).size == N


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0.0, 1.0] * 29 + [2.0, 0.0], r"label = 2 in 1 of 60 rows is neither 0 nor 1"),
        ([-1.0, 1.0] * 30, r"label = -1 in 30 of 60 rows"),
        ([1.0, 2.0] * 30, r"label = 2 in 30 of 60 rows"),
    ],
)
def test_a_task_that_labels_leave_in_doubt_is_asked_for(labels, words):
    table = with_column("binary", "label", labels)
    with pytest.raises(ConfigurationError, match=rf"task is not given, and {words}.*Remedy"):
        draw(table)
    assert draw(table, task="regression")["drawn"].to_numpy().sum() == 6


def test_an_unknown_task_is_refused():
    with pytest.raises(ConfigurationError, match=r"task = 'ranking': unknown. Remedy: choose one"):
        draw(TABLES["binary"], task="ranking")


def test_logits_of_a_binary_task_are_refused():
    table = TABLES["multiclass"].append_column("prediction", pa.array(np.zeros(N)))
    with pytest.raises(ConfigurationError, match=r"have logits, and the task is 'binary'. Remedy"):
        draw(table, task="binary")


@pytest.mark.parametrize(
    ("task", "missing", "needs"),
    [
        ("binary", "label", "needs instance_id, prediction, and label"),
        ("binary", "prediction", "needs instance_id, prediction, and label"),
        ("multiclass", "logits", "needs instance_id, logits or statistics, and label"),
        ("regression", "instance_id", "needs instance_id, prediction, and label"),
    ],
)
def test_a_missing_column_is_named_with_all_that_the_task_and_the_policy_need(task, missing, needs):
    table = TABLES[task].drop_columns([missing])
    message = rf"lack the column '{missing}'.*policy 'balanced' and the task '{task}'.*{needs}"
    with pytest.raises(ConfigurationError, match=rf"{message}.*segments.*Remedy"):
        draw(table, policy="balanced", task=task)
    with pytest.raises(
        ConfigurationError, match=r"lack the column .*policy 'balanced', draw needs"
    ):
        draw(table, policy="balanced")


@pytest.mark.parametrize("task", list(TABLES))
def test_a_data_frame_is_drawn_from_as_its_table_is(task):
    """The index does not matter, nor do columns that a draw does not read."""
    frame = TABLES[task].to_pandas().assign(note="x")
    frame.index = pd.Index(range(100, 100 + N), name="row")
    drawn = draw(frame, seed=7)
    assert isinstance(drawn, pa.Table)
    assert drawn.equals(draw(TABLES[task], seed=7))


def test_a_data_frame_may_have_clocks_of_nanoseconds_and_labels_of_truth_values():
    frame = TABLES["binary"].to_pandas()
    frame["event_time"] = pd.Timestamp("2013-01-01 12:00:00.123456789")
    frame["label"] = frame["label"] == 1.0
    assert draw(frame, seed=7).equals(draw(TABLES["binary"], seed=7))


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 4), pa.large_list(pa.float64())])
def test_lists_of_any_kind_are_read(kind):
    table = TABLES["multiclass"]
    other = table.set_column(1, "logits", table["logits"].combine_chunks().cast(kind))
    assert draw(other, seed=7).equals(draw(table, seed=7))


@pytest.mark.parametrize("bad", [None, [1, 2], {"label": [1.0]}])
def test_what_is_no_table_is_refused(bad):
    with pytest.raises(ConfigurationError, match=r"neither a pyarrow.Table nor a pandas DataFrame"):
        draw(bad)
