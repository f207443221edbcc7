"""The study's data: rows in one form, days that fit them, and features that know no future."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.study.stream import Stream, first_refresh, refreshes
from benchmarks.study.streams import STREAMS
from benchmarks.study.streams.fetched import CHECKSUMS, fetched
from benchmarks.study.streams.flights_3m import clean, sample
from benchmarks.study.streams.linear import SEED, SEED_AGAIN, drawn
from benchmarks.study.streams.mlbench import stream_of
from benchmarks.study.streams.movielens import past
from benchmarks.study.streams.table import FIRST_DAY, dated
from demo.stream import between, rows_of
from schemas.errors import ConfigurationError
from spark_jobs.refresh.plan import cut_of
from spark_jobs.sources.digits import digit_images

NOTHING_TO_FETCH = (
    *("digits", "linear", "linear-outliers"),
    *("linear-again", "linear-outliers-again"),
)
PARTS = {
    "development": {"flights", "movielens", "mnist", "delay", "digits"},
    "confirmation": {"flights-autumn", "fashion", "flights-3m", "linear", "linear-outliers"},
    "second": {"shuttle", "letters", "flights-3m-other", "linear-again", "linear-outliers-again"},
}
FEATURE_TYPES = {
    "category": pa.int32(),
    "number": pa.float32(),
    "tensor": pa.list_(pa.float32()),
}


@pytest.fixture(params=NOTHING_TO_FETCH)
def stream(request, tmp_path) -> Stream:
    return STREAMS[request.param](tmp_path)


def test_development_and_both_confirmations_are_apart(tmp_path):
    for name in NOTHING_TO_FETCH:
        assert name in PARTS[STREAMS[name](tmp_path).part]
    assert sorted(STREAMS) == sorted(name for names in PARTS.values() for name in names)


def test_rows_have_the_columns_of_the_interface_and_the_features_of_the_pipeline(stream):
    features = stream.pipeline.features
    types = {field.name: field.type for field in stream.rows.schema}
    assert types == {
        "instance_id": pa.string(),
        "event_date": pa.date32(),
        "known_at": pa.timestamp("us", tz="UTC"),
        "segments": pa.list_(pa.string()),
        **{name: FEATURE_TYPES[feature.kind] for name, feature in features.items()},
        "label": pa.float32(),
    }
    keys = pc.list_value_length(stream.rows["segments"])
    assert pc.all(pc.equal(keys, len(stream.pipeline.instances.segments))).as_py()


def test_ids_are_unique_and_sorted(stream):
    ids = stream.rows["instance_id"].to_pylist()
    assert ids == sorted(set(ids))


def test_refreshes_are_a_step_apart_and_have_rows_before_and_after(stream):
    first, last = (end(stream.rows["event_date"]).as_py() for end in (pc.min, pc.max))
    step = timedelta(days=stream.step)
    for days in (stream.tuning, stream.days):
        assert {after - before for before, after in pairwise(days)} == {step}
        assert days[0] - step - timedelta(days=stream.learnt_days) + timedelta(days=1) >= first
        assert days[-1] + step <= last
    assert stream.judged in stream.days
    assert len([ds for ds in stream.days if ds >= stream.judged]) >= 10


def test_no_day_that_is_judged_was_tuned_on(stream):
    assert stream.tuning[-1] < stream.judged


def test_labels_come_after_the_row_and_before_the_end_of_its_day(stream):
    midnight = stream.rows["event_date"].cast(pa.timestamp("us", tz="UTC"))
    assert pc.all(pc.greater_equal(stream.rows["known_at"], midnight)).as_py()
    ds = stream.days[0]
    period = between(stream.rows, ds - timedelta(days=stream.step - 1), ds)
    assert pc.all(pc.less(period["known_at"], pa.scalar(cut_of(ds)))).as_py()


def test_the_same_call_gives_the_same_rows(stream, tmp_path):
    assert STREAMS[stream.name](tmp_path).rows.equals(stream.rows)


def test_the_trainer_takes_the_rows(stream):
    some = stream.rows.slice(10, 7)
    rows = rows_of(stream.pipeline, some)
    assert len(rows) == 7
    if stream.name == "digits":
        images = digit_images()[0][10:17]
        assert np.array_equal(rows.inputs[2], images.reshape(7, 1, 8, 8))
    else:
        assert np.array_equal(rows.inputs[1][:, 3], some["x3"].to_numpy())
    assert np.array_equal(rows.label, some["label"].to_numpy())


def test_linear_labels_are_linear_but_for_noise_and_drift():
    inputs, label = drawn(0.0, SEED)
    first, last = slice(0, 1000), slice(-1000, None)
    with_one = np.column_stack([np.ones(1000), inputs[first]])
    fitted = np.linalg.lstsq(with_one, label[first], rcond=None)[0]
    residual = label[first] - with_one @ fitted
    assert residual.std() == pytest.approx(1.0, abs=0.08)
    assert fitted[0] == pytest.approx(1.0, abs=0.15)
    later = np.linalg.lstsq(inputs[last], label[last] - 1, rcond=None)[0]
    assert np.abs(later - fitted[1:]).mean() > 0.1


def test_one_label_in_twenty_is_an_outlier_and_the_others_are_as_they_were():
    (inputs, clean_label), (same, label) = drawn(0.0, SEED), drawn(0.05, SEED)
    assert np.array_equal(inputs, same)
    moved = clean_label != label
    assert moved.mean() == pytest.approx(0.05, abs=0.005)
    assert (label - clean_label)[moved].std() == pytest.approx(29.0, rel=0.05)


def test_the_second_confirmation_has_other_numbers():
    (inputs, label), (others, other_label) = drawn(0.0, SEED), drawn(0.0, SEED_AGAIN)
    assert inputs.shape == others.shape
    assert abs(np.corrcoef(inputs.ravel(), others.ravel())[0, 1]) < 0.01
    assert (label != other_label).mean() > 0.999


def test_a_data_frame_of_numbers_and_classes_becomes_a_stream():
    letters = np.array(list("zyxwvutsrqponmlkjihgfedcba") * 7)
    random = np.random.default_rng(3)
    numbers = {"x.box": random.normal(size=182), "V2": random.normal(size=182)}
    stream = stream_of("made_up", numbers | {"lettr": letters}, "lettr", per_day=12)
    assert list(stream.pipeline.features) == ["x_box", "v2"]
    assert (stream.pipeline.labels.classes, stream.part) == (26, "second")
    assert stream.rows["label"].to_pylist()[:3] == [25, 24, 23]
    assert [(day - FIRST_DAY).days for day in (stream.days[0], stream.judged)] == [2, 12]
    rows = rows_of(stream.pipeline, stream.rows)
    assert np.array_equal(rows.inputs[1][:, 0], numbers["x.box"].astype(np.float32))


def test_past_means_know_the_days_before_and_nothing_of_their_own():
    key = np.array([7, 7, 8, 7, 7, 8, 9])
    day = np.array([0, 0, 0, 1, 1, 2, 2])
    liked = np.array([1, 0, 1, 1, 1, 0, 1], np.float32)
    mean, count = past(key, day, liked)
    assert count.tolist() == [0, 0, 0, 2, 2, 1, 0]
    # As if four more had been seen, half of them liked.
    assert mean.tolist() == pytest.approx([0.5, 0.5, 0.5, 3 / 6, 3 / 6, 3 / 5, 0.5])
    changed = liked.copy()
    changed[day == 2] = 1 - changed[day == 2]
    assert np.array_equal(past(key, day, changed)[0], mean)


def test_rows_without_dates_get_so_many_a_day_in_their_order():
    label = np.arange(25)
    rows = dated("row", 10, {"x": label.astype(np.float32)}, label, [np.array(["a"] * 25)])
    days = [(day - FIRST_DAY).days for day in rows["event_date"].to_pylist()]
    assert days == [0] * 10 + [1] * 10 + [2] * 5
    assert rows["label"].to_pylist() == label.tolist()
    assert rows["segments"].to_pylist() == [["a"]] * 25


def test_flights_are_cleaned_before_one_in_five_is_taken():
    date = pd.Timestamp("2001-03-01 10:00")
    flights = pd.DataFrame(
        {
            "date": [date, date, date, date, pd.Timestamp("2001-07-01")],
            "delay": [20, 20, -90, -91, 0],
            "distance": 100,
        }
    )
    assert clean(flights).index.tolist() == [0, 2]
    many = pd.DataFrame(index=range(100_000))
    taken = sample(many, 0).index
    assert len(taken) == pytest.approx(20_000, rel=0.02)
    assert taken.equals(sample(many.iloc[::-1], 0).index.sort_values())


def test_the_fifths_of_the_flights_have_no_row_in_common_and_are_all_there_are():
    many = pd.DataFrame(index=range(100_000))
    fifths = [sample(many, fifth).index for fifth in range(5)]
    assert fifths[0].intersection(fifths[1]).empty
    assert sorted(np.concatenate(fifths)) == list(range(100_000))


def test_refreshes_end_a_period_before_the_rows_do():
    first = first_refresh(FIRST_DAY, learnt_days=12, step=7)
    assert first == FIRST_DAY + timedelta(days=18)
    days = refreshes(first, 7, first + timedelta(days=27))
    assert days == tuple(first + timedelta(days=7 * number) for number in range(3))


def test_a_file_that_is_missing_or_another_one_is_refused(tmp_path):
    name = "recbole-1.2.1-py3-none-any.whl"
    with pytest.raises(ConfigurationError, match=r"not found\. Remedy: run `setup/study_data\.sh"):
        fetched(tmp_path, name)
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match=r"has SHA-256 .*Remedy: remove it, and run"):
        fetched(tmp_path, name)


def test_every_file_has_its_checksum():
    lines = [line.split() for line in Path(CHECKSUMS).read_text(encoding="utf-8").splitlines()]
    assert all(len(checksum) == 64 for checksum, _ in lines)
    assert len({name for _, name in lines}) == len(lines) == 9
