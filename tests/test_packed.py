"""Rows packed into words come out as they went in."""

import numpy as np
import pytest
import torch

from trainer.batches import Resident
from trainer.packed import Packed
from trainer.ranks import Ranks
from trainer.reader import Rows

random = np.random.default_rng(1)
TABLE = (random.integers(0, 9, (50, 3)), random.normal(size=(50, 5)).astype(np.float32))
IMAGES = (
    random.normal(size=(50, 3, 3)).astype(np.float32),
    random.integers(0, 255, (50, 1, 5, 7)).astype(np.uint8),
)
NONE = (np.zeros((50, 0), np.int64), random.normal(size=(50, 1)).astype(np.float32))


def rows(inputs: tuple[np.ndarray, ...]) -> Rows:
    label, weight, offset = random.normal(size=(3, 50)).astype(np.float32)
    return Rows(inputs, label, weight, offset)


@pytest.mark.parametrize("inputs", [TABLE, IMAGES, NONE])
def test_rows_packed_and_unpacked_are_the_same(inputs: tuple[np.ndarray, ...]) -> None:
    before = rows(inputs)
    packed = Packed.of(before)
    after = Packed.joined([packed.part(0, 20), packed.part(20, 50)]).rows()
    for one, other in zip(before.inputs, after.inputs, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    for name in ("label", "weight", "offset"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


@pytest.mark.parametrize("inputs", [TABLE, IMAGES, NONE])
def test_a_batch_has_the_rows_at_its_places(inputs: tuple[np.ndarray, ...]) -> None:
    whole = rows(inputs)
    order = random.permutation(50)
    resident = Resident.of(Packed.of(whole), torch.device("cpu"))
    first, *_ = resident.batches(order, 16, Ranks())
    here = order[:16]
    for column, tensor in zip(whole.inputs, first.inputs, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), column[here])
    np.testing.assert_array_equal(first.label.numpy(), whole.label[here])
    np.testing.assert_array_equal(first.offset.numpy(), whole.offset[here])
    np.testing.assert_array_equal(first.weight.numpy(), whole.weight[here])
    assert float(first.total) == pytest.approx(float(whole.weight[here].sum()))
