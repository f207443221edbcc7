"""`encode`: what a server makes of raw values is what Spark makes of them, in every bit."""

import math
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from inference.encoding import encode
from inference.xxh64 import xxh64
from schemas.columns import TYPES
from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import Pipeline
from spark_jobs.features.encoding import encode as spark_encode
from tests.helpers.trainer_tables import small_card

ROWS = 600
CHOICE = random.Random(20)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def text() -> str:
    """Of up to 80 bytes and more, of every plane of Unicode; often short, sometimes empty."""
    alphabets = [
        "ab",
        "".join(map(chr, range(0x20, 0x250))),
        "日本語ЖЯαω",
        "\U0001f600\U00010348\0",
    ]
    alphabet = CHOICE.choice(alphabets)
    return "".join(CHOICE.choice(alphabet) for _ in range(CHOICE.choice([0, 1, 3, 8, 33, 70])))


def number() -> float:
    edges = [math.nan, math.inf, -math.inf, 1e30, -1e30, 1.0000001e30, 1e300, 5e-324, -0.0, 1e-46]
    return CHOICE.choice([*edges, CHOICE.gauss(0, 1), CHOICE.uniform(-1e31, 1e31)])


def whole(bits: int) -> int:
    edges = [0, -1, 1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 2**24 + 1]
    return CHOICE.choice([*edges, CHOICE.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1))])


MADE: dict[str, Callable[[], Any]] = {
    "string": text,
    "bool": lambda: CHOICE.random() < 0.5,
    "int32": lambda: whole(32),
    "int64": lambda: whole(64),
    "float32": lambda: float(np.float32(CHOICE.gauss(0, 100))),
    "float64": number,
    "timestamp": lambda: EPOCH + timedelta(microseconds=CHOICE.randrange(-(10**15), 4 * 10**15)),
    "floats": lambda: [CHOICE.choice([None, math.nan, math.inf, 0.1, -3.0]) for _ in range(6)],
}
FEATURES: dict[str, dict[str, Any]] = {
    "city": {"kind": "category", "buckets": 1 << 20},
    "coin": {"kind": "category", "buckets": 2, "source": "instances.city"},
    "letter": {"kind": "category", "buckets": 27, "source": "places.letter"},
    "weekday": {"kind": "category", "buckets": 8},
    "account": {"kind": "category", "buckets": 1000},
    "balance": {"kind": "number", "source": "instances.account", "default": 3.0},
    "age": {"kind": "number", "source": "instances.weekday"},
    "member": {"kind": "number", "default": 0.25},
    "price": {"kind": "number", "default": -7.1},
    "size": {"kind": "number"},
    "since": {"kind": "number", "default": 1e30},
    "image": {"kind": "tensor", "shape": [2, 3], "default": 0.1},
}
COLUMNS = {
    "city": "string",
    "weekday": "int32",
    "account": "int64",
    "member": "bool",
    "price": "float64",
    "size": "float32",
    "since": "timestamp",
    "image": "floats",
}


def pipeline(**features: dict[str, Any]) -> Pipeline:
    view = {
        "name": "places",
        "entity": ["city"],
        "columns": {"letter": {"type": "string"}},
    }
    columns = {name: {"type": kind} for name, kind in COLUMNS.items()}
    return Pipeline.model_validate(
        {
            "name": "small",
            "task": "binary",
            "instances": {"columns": columns},
            "labels": {"label": "y", "columns": {"y": {"type": "float64"}}},
            "feature_views": [view],
            "features": features or FEATURES,
        }
    )


PIPELINE = pipeline()


def types() -> dict[str, str]:
    """The type of the column that each feature is read from."""
    columns = COLUMNS | {"letter": "string"}
    return {name: columns[PIPELINE.feature_source(name)[1]] for name in PIPELINE.features}


@pytest.fixture(scope="module")
def raw() -> dict[str, list[Any]]:
    """Random values of every feature, one in eight of them null."""
    return {
        name: [None if CHOICE.random() < 0.125 else MADE[kind]() for _ in range(ROWS)]
        for name, kind in types().items()
    }


def test_what_a_server_encodes_is_what_spark_encodes(
    spark: SparkSession, raw: dict[str, list[Any]]
) -> None:
    arrays = {name: pa.array(raw[name], TYPES[kind].arrow) for name, kind in types().items()}
    frame = spark.createDataFrame(pa.table({"place": range(ROWS)} | arrays))
    columns = [
        spark_encode(F.col(name), frame.schema[name].dataType, feature).alias(name)
        for name, feature in PIPELINE.features.items()
    ]
    by_spark = frame.select("place", *columns).toArrow().sort_by("place")
    found = encode(PIPELINE, raw)
    assert list(found) == list(FEATURES)
    for name, column in found.items():
        wanted = by_spark[name].combine_chunks()
        flat = wanted.flatten() if PIPELINE.features[name].kind == "tensor" else wanted
        assert column.dtype == flat.type.to_pandas_dtype()
        assert column.tobytes() == flat.to_numpy(zero_copy_only=False).tobytes(), name


@given(st.binary(max_size=100), st.sampled_from([42, 0, 7, (1 << 64) - 1]))
def test_the_hash_is_that_of_the_xxhash_library(content: bytes, seed: int) -> None:
    assert xxh64(content, seed) % (1 << 64) == xxhash.xxh64_intdigest(content, seed=seed)


def test_lists_arrays_tables_and_frames_are_the_same_values(raw: dict[str, list[Any]]) -> None:
    wanted = encode(PIPELINE, raw)
    arrays = {name: pa.array(raw[name], TYPES[kind].arrow) for name, kind in types().items()}
    moments = [one and one.isoformat() for one in raw["since"]]
    elsewhere = [one and one.astimezone(timezone(timedelta(hours=5))) for one in raw["since"]]
    for given_ in (
        pa.table(arrays),
        pd.DataFrame({name: pd.Series(raw[name], dtype=object) for name in raw}),
        pd.DataFrame({name: pd.Series(raw[name], dtype=object) for name in raw} | {"more": 1}),
        {name: np.array([*raw[name], None], dtype=object)[:-1] for name in raw},
        raw | {"since": moments},
        raw | {"since": elsewhere},
    ):
        found = encode(PIPELINE, given_)
        assert {n: c.tobytes() for n, c in found.items()} == {
            n: c.tobytes() for n, c in wanted.items()
        }


def test_numbers_of_any_library_are_numbers() -> None:
    one = pipeline(price=FEATURES["price"], account=FEATURES["account"], image=FEATURES["image"])
    image = np.arange(12.0).reshape(2, 2, 3)
    wanted = encode(one, {"price": [1.5, 2.0], "account": [7, 8], "image": image.reshape(2, 6)})
    assert wanted["image"].tolist() == image.reshape(2, 6).tolist()
    for given_ in (
        {"price": np.array([1.5, 2], np.float32), "account": np.array([7, 8]), "image": image},
        {"price": [np.float32(1.5), 2], "account": [7.0, np.int8(8)], "image": image.tolist()},
        {"price": (1.5, 2), "account": pd.array([7, 8], "Int64"), "image": list(image)},
    ):
        found = encode(one, given_)
        assert {n: c.tolist() for n, c in found.items()} == {
            n: c.tolist() for n, c in wanted.items()
        }
    missing = pd.DataFrame({"account": [7, None], "price": [None, 1.0], "image": [None, None]})
    assert encode(one, missing)["account"].tolist() == [8, 0]


def test_a_whole_number_beyond_every_float_is_the_default() -> None:
    one = pipeline(price=FEATURES["price"])
    values = {"price": [10**400, -(10**400), 10**20]}
    assert encode(one, values)["price"].tolist() == np.float32([-7.1, -7.1, 1e20]).tolist()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("city", 5),
        ("city", b"x"),
        ("city", "\ud800"),
        ("weekday", "5"),
        ("weekday", True),
        ("weekday", 2.5),
        ("weekday", math.inf),
        ("weekday", 2**31),
        ("account", 2**63),
        ("member", 1),
        ("member", "true"),
        ("price", "1.5"),
        ("price", True),
        ("since", 5),
        ("since", "yesterday"),
        ("image", 5.0),
        ("image", "123456"),
        ("image", [1.0, 2.0]),
        ("image", []),
        ("image", [True] * 6),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(name: str, value: object) -> None:
    one = pipeline(**{name: FEATURES[name]})
    with pytest.raises(DataQualityError, match=rf"(?s)features\.{name}.*Remedy: "):
        encode(one, {name: [value]})


@pytest.mark.parametrize("values", ["abc", 5, None, {"a": 1}, np.float64(3.0)])
def test_what_is_no_column_is_refused(values: object) -> None:
    with pytest.raises(DataQualityError, match=r"features\.city: \w+ is no column\. Remedy"):
        encode(pipeline(city=FEATURES["city"]), {"city": values})


def test_a_feature_that_was_not_sent_is_named() -> None:
    with pytest.raises(ConfigurationError, match="features: coin, letter not among the values"):
        encode(pipeline(**{n: FEATURES[n] for n in ("city", "coin", "letter")}), {"city": ["Oslo"]})


def test_no_rows_are_no_rows() -> None:
    found = encode(PIPELINE, {name: [] for name in FEATURES})
    assert {name: len(column) for name, column in found.items()} == dict.fromkeys(FEATURES, 0)
    assert found["image"].shape == (0, 6)


def test_the_model_that_answers_has_its_own_features_and_buckets() -> None:
    then = pipeline(
        city={"kind": "category", "buckets": 9}, price={"kind": "number", "default": 1.0}
    )
    now = pipeline(
        price={"kind": "number", "default": 2.0},
        size={"kind": "number"},
        city={"kind": "category", "buckets": 1000},
    )
    words = [f"word {i}" for i in range(50)]
    found = encode(now, {"city": words, "price": [1.5] * 50}, small_card(then))
    assert list(found) == ["city", "price"]
    assert found["city"].tolist() == [xxh64(word.encode()) % 8 + 1 for word in words]
    gone = pipeline(size={"kind": "number"}, price={"kind": "number"})
    with pytest.raises(ConfigurationError, match=r"features\.city: .*pipeline file has none.*Reme"):
        encode(gone, {"size": [1.0], "price": [1.0]}, small_card(then))


def test_the_core_alone_is_enough() -> None:
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("pyspark", "py4j", "torch", "pandas", "numba", "mlflow", "xxhash"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from schemas.pipeline import load_pipeline
from tenforward import encode
orders = load_pipeline("console/template/pipeline.toml", {"name": "orders"})
values = {"channel": ["web", None], "price": [12.5, None]}
values |= {"items": [2, 1], "cancelled_share": [0.5, None]}
print({name: column.tolist() for name, column in encode(orders, values).items()})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = {
        "channel": [xxh64(b"web") % 15 + 1, 0],
        "price": [12.5, 40.0],
        "items": [2.0, 1.0],
        "cancelled_share": [0.5, float(np.float32(0.2))],
    }
    assert run.stdout.strip() == str(found)
