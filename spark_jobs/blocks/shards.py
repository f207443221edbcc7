"""Shards: candidates of a range of the hash order as bytes that a Spark row can hold.

Spark keeps and moves them without looking inside; a pass reads only the parts it needs, without
copying or parsing rows.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.records import Records, Vocabulary

PARTS = ("core", "sketch", "kept")
_SELDOM = ("propensity", "row_weight")  # columns that are mostly 1 throughout, and then left out


class Shard(NamedTuple):
    """Records in Arrow's stream format: what every pass reads, the sketches, what is written."""

    core: bytes
    sketch: bytes
    kept: bytes


def _dictionary(codes: Any, names: tuple[str, ...]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))


def pack(records: Records) -> Shard:
    """Records as bytes."""
    names = records.vocabulary
    flat = records.prediction.ndim == 1
    predictions = [records.prediction] if flat else list(records.prediction.T)
    core = {
        "hash": records.hash,
        "label": records.label,
        "matured": records.matured,
        "day": records.day,
        **{
            name: values
            for name in _SELDOM
            if not ((values := getattr(records, name)) == 1.0).all()
        },
        "version": _dictionary(records.version, names.versions),
        **{f"prediction{c}": np.ascontiguousarray(one) for c, one in enumerate(predictions)},
        **{
            f"segment{place}": _dictionary(records.segments[:, place], levels)
            for place, levels in enumerate(names.levels)
        },
    }
    table = pa.table(core).replace_schema_metadata({"logits": "" if flat else "yes"})
    width = records.sketch.shape[1]
    values = pa.array(records.sketch.reshape(-1))
    sketch = pa.FixedSizeListArray.from_arrays(values, width) if width else pa.nulls(records.size)
    assert records.kept is not None
    return Shard(_bytes(table), _bytes(pa.table({"sketch": sketch})), _bytes(records.kept))


def unpack(core: pa.Buffer, sketch: pa.Buffer | None, kept: pa.Buffer | None) -> Records:
    """Records of the parts that are given; the others are empty."""
    table = _table(core)
    flat = table.schema.metadata[b"logits"] == b""
    predictions = [table[n].to_numpy() for n in table.column_names if n.startswith("prediction")]
    places = [table[n].chunk(0) for n in table.column_names if n.startswith("segment")]
    version = table["version"].chunk(0)
    n = table.num_rows
    seldom = {
        name: table[name].to_numpy() if name in table.column_names else np.broadcast_to(1.0, n)
        for name in _SELDOM
    }
    no_segments = np.zeros((n, 0), np.int32)
    return Records(
        hash=table["hash"].to_numpy(),
        prediction=predictions[0] if flat else np.stack(predictions, axis=1),
        label=table["label"].to_numpy(),
        matured=table["matured"].to_numpy(),
        version=version.indices.to_numpy(),
        day=table["day"].to_numpy(),
        segments=np.stack([p.indices.to_numpy() for p in places], 1) if places else no_segments,
        sketch=np.zeros((n, 0), np.float32) if sketch is None else _matrix(_table(sketch)),
        **seldom,
        vocabulary=Vocabulary(
            tuple(version.dictionary.to_pylist()),
            tuple(tuple(place.dictionary.to_pylist()) for place in places),
        ),
        kept=None if kept is None else _table(kept),
    )


def _matrix(table: pa.Table) -> Array:
    if pa.types.is_null(table["sketch"].type):
        return np.zeros((table.num_rows, 0), np.float32)
    lists = table["sketch"].chunk(0)
    return lists.flatten().to_numpy().reshape(table.num_rows, -1)


def _bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def _table(buffer: pa.Buffer) -> pa.Table:
    return pa.ipc.open_stream(buffer).read_all()
