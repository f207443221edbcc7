"""One order of addition: whoever holds which blocks, the same bits."""

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_jobs.selection.tree import add_sums, fold

FLOATS = st.floats(-1e30, 1e30, allow_nan=False)


def test_the_tree_adds_neighbours_first():
    values = dict(enumerate("abcdefgh"))
    assert fold(values, 3, lambda a, b: f"({a}{b})") == {0: "(((ab)(cd))((ef)(gh)))"}


def test_absent_blocks_are_nothing():
    values = {1: "b", 6: "g", 7: "h"}
    assert fold(values, 3, lambda a, b: f"({a}{b})") == {0: "(b(gh))"}
    assert fold(values, 1, lambda a, b: f"({a}{b})") == {0: "b", 3: "(gh)"}
    assert fold(values, 0, operator.add) == values
    assert fold({}, 3, operator.add) == {}


@settings(derandomize=True, deadline=None, max_examples=300)
@given(values=st.dictionaries(st.integers(0, 63), FLOATS, min_size=1), shards=st.integers(0, 6))
def test_law_1_all_at_once_is_part_by_part_bit_for_bit(values, shards):
    """64 blocks in 2^shards shards: each folds its own, the driver folds what they leave."""
    whole = fold(values, 6, operator.add)
    within = 6 - shards
    parts = {}
    for shard in range(1 << shards):
        own = {index: value for index, value in values.items() if index >> within == shard}
        parts |= fold(own, within, operator.add)
    assert set(parts) == {index >> within for index in values}
    assert fold(parts, shards, operator.add) == whole


@pytest.mark.parametrize("shuffle", range(5))
def test_law_1_the_order_of_arrival_does_not_matter(shuffle):
    random = np.random.default_rng(shuffle)
    values = dict(enumerate(random.normal(size=64) * 10.0 ** random.integers(-20, 20, 64)))
    mixed = {int(index): values[index] for index in random.permutation(64)}
    assert fold(mixed, 6, operator.add) == fold(values, 6, operator.add)


def test_sums_are_added_key_by_key():
    found = add_sums({"a": 1, "b": np.array([1, 2])}, {"a": 2, "b": np.array([3, 4])})
    assert found["a"] == 3
    assert found["b"].tolist() == [4, 6]
