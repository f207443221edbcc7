"""Encoding and as-of join of a few rows without Spark: the same as Spark's."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.encoding import Encoding, encoding_of, encoding_then
from schemas.errors import DataQualityError
from schemas.sections.store import Feature
from tests.helpers.changing import of
from tests.test_point_in_time import random_rows, reference, view
from trainer.features.as_of import micros, newest
from trainer.features.encode import NULL_CODE, encode, xxh64

UTC = pa.timestamp("us", tz="UTC")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(text=st.text(max_size=80))
def test_strings_are_hashed_as_spark_does(text: str) -> None:
    assert xxh64(text.encode()) == xxhash.xxh64_intdigest(text.encode(), seed=42)


def test_categories_are_codes_above_that_of_null() -> None:
    words = ["EWR", None, "", "Zürich", "a longer word, of more than thirty-two bytes", "EWR"]
    feature = Feature(kind="category", buckets=64)
    codes = encode("f", pa.chunked_array([pa.array(words)]), feature).tolist()
    signed = {w: xxhash.xxh64_intdigest(w.encode(), seed=42) for w in words if w is not None}
    signed = {w: h - (1 << 64) if h >> 63 else h for w, h in signed.items()}
    assert codes == [NULL_CODE if w is None else signed[w] % 63 + 1 for w in words]
    numbers = [None, -1, 7, 2**62, -(2**63)]
    codes = encode("f", pa.chunked_array([pa.array(numbers)]), Feature(kind="category", buckets=8))
    assert codes.tolist() == [NULL_CODE, *(n % 7 + 1 for n in numbers if n is not None)]


def test_numbers_and_tensors_have_the_default_for_what_is_none() -> None:
    values = [None, float("nan"), float("inf"), 1e31, 1e300, 0.1, -3.0]
    feature = Feature(kind="number", default=-7.5)
    found = encode("f", pa.chunked_array([pa.array(values)]), feature)
    assert found.dtype == np.float32
    assert found.tolist() == [*[-7.5] * 5, float(np.float32(0.1)), -3.0]
    rows = pa.array([[1.0, None], None, [float("nan"), 2.0]], pa.list_(pa.float32()))
    tensor = Feature(kind="tensor", shape=(2,), default=9.0)
    assert encode("f", pa.chunked_array([rows]), tensor).tolist() == [[1, 9], [9, 9], [9, 2]]
    with pytest.raises(DataQualityError, match=r"features.f: a tensor of 2 numbers"):
        encode("f", pa.chunked_array([rows]), Feature(kind="tensor", shape=(3,)))


@pytest.mark.parametrize("ttl", [None, "6m"])
@settings(max_examples=3, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_join_agrees_with_a_row_by_row_reference(ttl: str | None, seed: int) -> None:
    asked, known = random_rows(seed, cases=60)
    columns = list(zip(*known, strict=True))
    names = ["case", "key", "event_timestamp", "created", "a", "b"]
    types = [pa.string(), pa.string(), UTC, UTC, pa.int64(), pa.string()]
    rows = pa.table(
        {
            name: pa.array(column, kind)
            for name, column, kind in zip(names, columns, types, strict=True)
        }
    )
    keys = [None if None in entity else tuple(entity) for _, _, *entity in asked]
    moments = micros(pa.chunked_array([pa.array([row[1] for row in asked], UTC)]))
    places = newest(view(ttl), keys, [moment or 0 for moment in moments], rows)
    found = rows.take(pa.array(places, pa.int64())).to_pylist()
    values = [tuple(row[name] for name in names[4:]) for row in found]
    result = sorted((*row, *value) for row, value in zip(asked, values, strict=True))
    assert result == reference(asked, known, None if ttl is None else timedelta(minutes=6))


def test_an_encoding_says_what_has_changed_and_knows_itself_again() -> None:
    before = encoding_of(of())
    assert Encoding.model_validate_json(before.model_dump_json()) == before
    assert encoding_then(of().selection_config()) == before
    described = encoding_of(of(lambda file: file["feature_views"][0].update(description="Other.")))
    assert before.differences(described) == []

    def change(file: dict) -> None:
        file["feature_views"][0]["ttl"] = "60d"
        file["features"]["shop"]["buckets"] = 16
        file["features"]["rate"] = {"kind": "number", "source": "shelves.width"}
        del file["features"]["price"]
        file["features"]["width"]["source"] = "instances.price"

    changed = encoding_of(of(change))
    assert before.differences(changed) == [
        "+rate",
        "-price",
        "shop (buckets 8 to 16)",
        "width (source shelves.width to instances.price)",
    ]
    longer = encoding_of(of(lambda file: file["feature_views"][0].update(ttl="60d")))
    assert before.differences(longer) == ["width (its view)"]
