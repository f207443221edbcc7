"""Rows packed into words come out as they went in."""

import numpy as np
import pytest
import torch

from schemas.inputs import ModelInput
from trainer.data.batches import Resident, batches
from trainer.data.packed import Packed
from trainer.data.reader import Rows, rows_from
from trainer.processes.ranks import Ranks

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


FEATURES = [
    ModelInput(name="price", kind="number"),
    ModelInput(name="shop", kind="category", buckets=9),
    ModelInput(name="image", kind="tensor", shape=(1, 2, 3)),
    ModelInput(name="slot", kind="category", buckets=4),
]
COLUMNS = {
    "label": random.normal(size=50).astype(np.float32),
    "price": random.normal(size=50).astype(np.float32),
    "shop": random.integers(0, 9, 50).astype(np.int32),
    "image": random.normal(size=(50, 6)).astype(np.float32),
    "slot": random.integers(0, 4, 50).astype(np.int32),
}
WEIGHTED = {"weight": random.random(50, np.float32), "offset": random.random(50, np.float32)}


@pytest.mark.parametrize("features", [FEATURES, FEATURES[:1], FEATURES[2:]])
@pytest.mark.parametrize("targets", [{}, WEIGHTED])
@pytest.mark.parametrize("at_once", [1, 16, 50, 64])
def test_columns_are_packed_as_the_rows_made_of_them(
    features: list[ModelInput],
    targets: dict[str, np.ndarray],
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.data.packed.AT_ONCE", at_once)
    columns = COLUMNS | targets
    whole = rows_from(features, columns)
    room = Packed.room(50, features)
    room.fill(features, columns)
    packed = room.rows()
    for one, other in zip(
        (*whole.inputs, whole.label, whole.weight, whole.offset),
        (*packed.inputs, packed.label, packed.weight, packed.offset),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize("inputs", [TABLE, IMAGES, NONE])
def test_a_batch_has_the_rows_at_its_places(inputs: tuple[np.ndarray, ...]) -> None:
    whole = rows(inputs)
    order = random.permutation(50)
    resident = Resident.of(Packed.of(whole), torch.device("cpu"))
    first, *_ = batches([(resident, order)], 16, Ranks())
    here = order[:16]
    for column, tensor in zip(whole.inputs, first.inputs, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), column[here])
    np.testing.assert_array_equal(first.label.numpy(), whole.label[here])
    np.testing.assert_array_equal(first.offset.numpy(), whole.offset[here])
    np.testing.assert_array_equal(first.weight.numpy(), whole.weight[here])
    assert first.rows == 16


@pytest.mark.parametrize("copied", [1, 1000, 1 << 22])
def test_batches_are_the_same_however_many_are_copied_together(
    copied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, order = rows(TABLE), random.permutation(50)
    resident = Resident.of(Packed.of(whole), torch.device("cpu"))
    monkeypatch.setattr("trainer.data.batches.COPIED_BYTES", copied)
    labels = [batch.label.numpy() for batch in batches([(resident, order)], 7, Ranks())]
    assert [len(label) for label in labels] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate(labels), whole.label[order])
