"""The as-of join of a few rows without Spark, the same as Spark's; which features are alike."""

from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.encoding import Encoding, encoding_of, encoding_then
from tests.helpers.changing import of
from tests.test_point_in_time import random_rows, reference, view
from trainer.features.as_of import micros, newest

UTC = pa.timestamp("us", tz="UTC")


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
