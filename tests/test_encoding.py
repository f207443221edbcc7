"""How a feature becomes a number: never null, never beyond the float range, null told apart."""

import math

import numpy as np
import pytest
import xxhash
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from schemas.sections.store import Feature
from spark_jobs.features.encoding import NULL_CODE, encode

Value = str | int | float | None


def encoded(spark: SparkSession, values: list[Value], type_: str, feature: Feature) -> list[float]:
    """The codes of a column of `values`, in order, after checking their Spark type."""
    rows = list(enumerate(values))
    frame = spark.createDataFrame(rows, f"place INT, value {type_}").coalesce(1)
    column = encode(F.col("value"), frame.schema["value"].dataType, feature).alias("code")
    result = frame.select("place", column)
    expected = T.IntegerType() if feature.kind == "category" else T.FloatType()
    assert result.schema["code"].dataType == expected
    return [row["code"] for row in sorted(result.collect())]


@pytest.mark.parametrize(
    "value",
    [None, math.nan, math.inf, -math.inf, 1e31, 1e300],
    ids=["null", "NaN", "infinity", "minus infinity", "beyond 1e30", "beyond float32"],
)
def test_what_is_not_a_number_becomes_the_default(spark: SparkSession, value: float | None) -> None:
    codes = encoded(spark, [value, 2.5], "DOUBLE", Feature(kind="number", default=-7.5))
    assert codes == [-7.5, 2.5]


def test_numbers_are_float32(spark: SparkSession) -> None:
    feature = Feature(kind="number")
    assert encoded(spark, [0.1, -3.0], "DOUBLE", feature) == [float(np.float32(0.1)), -3.0]
    assert encoded(spark, [7, None], "INT", feature) == [7.0, 0.0]


def test_strings_are_hashed_by_xxh64_above_the_code_of_null(spark: SparkSession) -> None:
    words = ["EWR", "JFK", "LGA", "", "Zürich", "a longer word, of more than thirty-two bytes"]
    codes = encoded(spark, [None, *words], "STRING", Feature(kind="category", buckets=64))
    hashes = [np.uint64(xxhash.xxh64_intdigest(word.encode(), seed=42)) for word in words]
    assert codes == [NULL_CODE, *(int(h.astype(np.int64)) % 63 + 1 for h in hashes)]


def test_integers_in_a_row_stay_apart_with_one_bucket_more(spark: SparkSession) -> None:
    weekday = Feature(kind="category", buckets=8)
    assert encoded(spark, [None, *range(7)], "INT", weekday) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_integers_wrap_round_and_never_fall_below_the_first_code(spark: SparkSession) -> None:
    feature = Feature(kind="category", buckets=8)
    values: list[Value] = [-1, 7, 2**62, -(2**63)]
    assert encoded(spark, values, "BIGINT", feature) == [int(v) % 7 + 1 for v in values if v]


def test_tensors_are_of_one_size_with_the_default_for_what_is_missing(spark: SparkSession) -> None:
    pixels = Feature(kind="tensor", shape=(2, 2), default=0.5)
    values = [[0.0, 1.0, 0.25, 4.0], [math.nan, 1.0, math.inf, None], None]
    frame = spark.createDataFrame(list(enumerate(values)), "place INT, value ARRAY<FLOAT>")
    column = encode(F.col("value"), frame.schema["value"].dataType, pixels).alias("code")
    found = {row["place"]: row["code"] for row in frame.select("place", column).collect()}
    assert found == {0: values[0], 1: [0.5, 1.0, 0.5, 0.5], 2: [0.5] * 4}
    short = spark.createDataFrame([(0, [1.0, 2.0, 3.0])], "place INT, value ARRAY<FLOAT>")
    with pytest.raises(Exception, match=r"of 3 numbers where shape = \[2, 2\] has 4"):
        short.select(encode(F.col("value"), short.schema["value"].dataType, pixels)).collect()
