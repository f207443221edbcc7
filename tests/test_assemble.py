"""Records and labels of one shard brought together in arrays."""

import numpy as np
import pyarrow as pa
import pytest

from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.maturity import Counting
from spark_jobs.selection import order
from spark_jobs.selection.hashing import hash_ids


def row(instance: str, moment: int, tie: int, prediction: float | None, label: float | None):
    """A record where there is a prediction, else a label."""
    return {
        "is_label": prediction is None,
        "fault": None,
        "instance_id": instance,
        "event_time": 0,
        "model_version": "1",
        "prediction": prediction,
        "logits": None,
        "statistics": None,
        "segments": [],
        "counting": int(Counting.ANY),
        "sketch": None,
        "label": label,
        "moment": moment,
        "tie": tie,
        "content": hash((prediction, label)),
    }


SCHEMA = pa.schema(
    {
        "is_label": pa.bool_(),
        "fault": pa.string(),
        "instance_id": pa.string(),
        "event_time": pa.timestamp("us", tz="UTC"),
        "model_version": pa.string(),
        "prediction": pa.float64(),
        "logits": pa.list_(pa.float32()),
        "statistics": pa.list_(pa.float32()),
        "segments": pa.list_(pa.string()),
        "counting": pa.int8(),
        "sketch": pa.list_(pa.float32()),
        "label": pa.float64(),
        "moment": pa.int64(),
        "tie": pa.int64(),
        "content": pa.int64(),
    }
)
ROWS = [
    row("a", moment=1, tie=1, prediction=0.1, label=None),
    row("a", moment=2, tie=1, prediction=0.2, label=None),  # newer
    row("b", moment=1, tie=1, prediction=0.3, label=None),
    row("b", moment=1, tie=2, prediction=0.4, label=None),  # as old, the larger tie
    row("c", moment=1, tie=1, prediction=0.5, label=None),  # no label
    row("d", moment=1, tie=1, prediction=0.6, label=None),
    row("e", moment=1, tie=1, prediction=0.7, label=None),  # contradict each other
    row("e", moment=1, tie=1, prediction=0.8, label=None),
    row("a", moment=1, tie=0, prediction=None, label=0.0),
    row("a", moment=2, tie=0, prediction=None, label=1.0),  # corrected
    row("b", moment=1, tie=0, prediction=None, label=1.0),
    row("d", moment=1, tie=0, prediction=None, label=1.0),
    row("d", moment=2, tie=0, prediction=None, label=0.0),
    row("e", moment=1, tie=0, prediction=None, label=1.0),
    row("f", moment=1, tie=0, prediction=None, label=1.0),  # no record
]


def found(rows: list[dict], provisional: float | None = None) -> dict[str, tuple[float, float]]:
    """Prediction and label by id, of the rows in a random order."""
    table = pa.Table.from_pylist(rows, SCHEMA).take(
        pa.array(np.random.default_rng(2).permutation(len(rows)))
    )
    records, _ = assemble(table, 7, provisional)
    assert records.kept is not None
    ids = records.kept["instance_id"].to_pylist()
    return dict(zip(ids, zip(records.prediction, records.label, strict=True), strict=True))


@pytest.mark.parametrize("shared_bits", [0, 62, 64])
def test_the_newest_record_meets_the_newest_label_even_where_ids_share_a_hash(
    monkeypatch, shared_bits
):
    """62: the hash has four values; 64: one. Two ids of one hash stay two."""

    def colliding(ids: pa.Array, seed: int) -> np.ndarray:
        hashes = hash_ids(ids, seed)
        return np.zeros_like(hashes) if shared_bits == 64 else hashes >> np.uint64(shared_bits)

    monkeypatch.setattr(order, "hash_ids", colliding)
    assert found(ROWS) == {"a": (0.2, 1.0), "b": (0.4, 1.0), "d": (0.6, 0.0)}


def test_a_record_without_a_label_stands_in_with_the_provisional_one():
    assert found(ROWS, provisional=0.5)["c"] == (0.5, 0.5)


def test_records_without_any_label_and_labels_without_any_record():
    records = [one for one in ROWS if not one["is_label"]]
    assert found(records) == {}
    assert found(records, provisional=0.5)["a"] == (0.2, 0.5)
    assert found([one for one in ROWS if one["is_label"]]) == {}
    assert found([]) == {}
