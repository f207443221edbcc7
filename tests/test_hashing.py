"""One hash of (id, seed), with the same value in Spark and in NumPy."""

import struct

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_jobs.selection.hashing import hash_columns, hash_ids, hash_step

WORDS = ["", "a", "abcd", "abcdefgh", "été", "x" * 31, "x" * 32, "y" * 33, "z" * 100]


def reference(content: bytes, seed: int) -> int:
    inner = xxhash.xxh64_intdigest(content, seed=42)
    return xxhash.xxh64_intdigest(struct.pack("<q", seed), seed=inner)


@pytest.mark.parametrize("seed", [1, 7, (1 << 53) - 1])
def test_strings_hash_as_the_xxhash_library_does(seed):
    expected = [reference(word.encode(), seed) for word in WORDS]
    assert hash_ids(pa.array(WORDS), seed).tolist() == expected


def test_integers_hash_as_the_xxhash_library_does():
    numbers = [0, 1, -1, 2**62, -(2**63)]
    expected = [reference(struct.pack("<q", number), 7) for number in numbers]
    assert hash_ids(pa.array(numbers, pa.int64()), 7).tolist() == expected


def test_a_slice_of_ids_hashes_like_the_ids():
    ids = pa.array(WORDS)
    assert hash_ids(ids.slice(3, 4), 7).tolist() == hash_ids(ids, 7).tolist()[3:7]


def test_spark_and_numpy_agree(spark: SparkSession):
    numbers = list(range(len(WORDS)))
    frame = spark.createDataFrame(list(zip(WORDS, numbers, strict=True)), "word string, n bigint")
    seed = F.lit(7).cast("bigint")
    rows = frame.select("word", "n", F.xxhash64("word", seed), F.xxhash64("n", seed)).collect()
    words, numbers, by_word, by_number = (list(column) for column in zip(*rows, strict=True))
    assert hash_ids(pa.array(words), 7).view(np.int64).tolist() == by_word
    assert hash_ids(pa.array(numbers, pa.int64()), 7).view(np.int64).tolist() == by_number


def test_columns_hash_together_as_in_spark(spark: SparkSession):
    first, second = WORDS, [None, *WORDS[2:], None]
    frame = spark.createDataFrame(list(zip(first, second, strict=True)), "a string, b string")
    by_spark = [row[0] for row in frame.select(F.xxhash64("a", "b")).collect()]
    found = hash_columns(pa.array(first), pa.array(second, pa.string()))
    assert found.tolist() == by_spark
    assert hash_columns(pa.array([], pa.string())).size == 0


def test_numbers_moments_and_lists_hash_as_in_spark(spark: SparkSession):
    columns = {
        "double": pa.array([0.5, -0.0, None, float("nan"), float("inf")]),
        "float": pa.array([0.5, -0.0, None, float("nan"), 1e30], pa.float32()),
        "moment": pa.array([0, -1, None, 1 << 50, 5], pa.timestamp("us", tz="UTC")),
        "floats": pa.array([[1.0, -0.0], [], None, [None, 2.0], [3.0]], pa.list_(pa.float32())),
        "words": pa.array([["a", "é"], [], None, [None, ""], ["a" * 40]], pa.list_(pa.string())),
        "whole": pa.array([1, -1, None, 0, 7], pa.int32()),
    }
    frame = spark.createDataFrame(pa.table(columns))
    for names in (*([name] for name in columns), list(columns)):
        by_spark = [row[0] for row in frame.select(F.xxhash64(*names)).collect()]
        found = hash_columns(*(columns[name] for name in names))
        assert found.tolist() == by_spark, names
        parts = [hash_columns(*(columns[name].slice(1) for name in names)).tolist()]
        assert parts == [by_spark[1:]], names


def test_an_id_that_is_null_or_of_another_type_is_refused():
    with pytest.raises(TypeError, match="null"):
        hash_ids(pa.array(["a", None]), 1)
    with pytest.raises(TypeError, match="double"):
        hash_ids(pa.array([1.5]), 1)


def test_steps_differ_in_every_part():
    values = {hash_step(1), hash_step(1, 0), hash_step(1, 1), hash_step(2, 1), hash_step(1, 0, 1)}
    assert len(values) == 5
