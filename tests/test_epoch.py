"""The order of an epoch, and the shares of it that the ranks train on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.data.epoch import sample_order, shares, sorted_places, steps

GOLDEN_ORDER = [4, 1, 6, 3, 2, 7, 5, 0]
sizes = st.integers(1, 700)
worlds = st.integers(1, 9)
batch_sizes = st.integers(1, 300)


def epoch_order(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """That of a sample which one window holds."""
    return sample_order([rows], rows, seed, epoch)


@settings(max_examples=200, deadline=None)
@given(rows=sizes, world=worlds, batch_size=batch_sizes, seed=st.integers(1, 1 << 31))
def test_law_4_every_row_once_an_epoch_and_equal_steps_on_every_rank(
    rows: int, world: int, batch_size: int, seed: int
) -> None:
    order = epoch_order(rows, seed, epoch=3)
    ranks = [list(shares(order, batch_size, rank, world)) for rank in range(world)]
    seen = np.concatenate([share.rows[share.real] for rank in ranks for share in rank])
    assert sorted(seen) == list(range(rows))
    assert {len(rank) for rank in ranks} == {steps(rows, batch_size)}
    for step in zip(*ranks, strict=True):
        assert len({len(share.rows) for share in step}) == 1
    assert sum((~share.real).sum() for share in ranks[0]) == 0


@settings(max_examples=50, deadline=None)
@given(rows=sizes, world=worlds, batch_size=batch_sizes)
def test_a_batch_holds_the_same_rows_whatever_the_number_of_ranks(
    rows: int, world: int, batch_size: int
) -> None:
    order = epoch_order(rows, seed=1, epoch=0)
    ranks = [list(shares(order, batch_size, rank, world)) for rank in range(world)]
    for step, alone in enumerate(shares(order, batch_size)):
        together = [rank[step].rows[rank[step].real] for rank in ranks]
        assert sorted(np.concatenate(together)) == sorted(alone.rows)


def test_law_4_the_order_is_a_function_of_seed_and_epoch() -> None:
    order = epoch_order(1000, seed=7, epoch=2)
    np.random.default_rng(0).random(100)  # nothing draws from elsewhere
    np.testing.assert_array_equal(order, epoch_order(1000, seed=7, epoch=2))
    assert not np.array_equal(order, epoch_order(1000, seed=8, epoch=2))
    assert list(epoch_order(8, seed=7, epoch=0)) == GOLDEN_ORDER


@settings(max_examples=100, deadline=None)
@given(
    upper=st.lists(st.sampled_from([0, 1, 1 << 31, (1 << 32) - 1]), max_size=40),
    seed=st.integers(0, 99),
)
def test_places_are_sorted_by_the_whole_key_and_equal_keys_stay_as_they_lie(
    upper: list[int], seed: int
) -> None:
    lower = np.random.default_rng(seed).integers(0, 3, len(upper)).astype(np.uint64)
    keys = np.array(upper, np.uint64) << np.uint64(32) | lower
    np.testing.assert_array_equal(sorted_places(keys), np.argsort(keys, kind="stable"))


def test_positions_of_two_epochs_are_unrelated() -> None:
    orders = [np.argsort(epoch_order(5000, seed=1, epoch=epoch)) for epoch in range(6)]
    correlation = np.corrcoef(orders) - np.eye(6)
    assert np.abs(correlation).max() < 4 / np.sqrt(5000)


def test_an_impossible_rank_is_refused() -> None:
    with pytest.raises(ValueError, match="rank 2 of 2"):
        next(shares(epoch_order(10, 1, 0), 4, rank=2, world=2))
