"""A refresh as one Arrow table, for a trainer of one's own: no Spark, no torch, no Petastorm."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable as Snapshot
from numpy.typing import NDArray

from schemas.errors import ConfigurationError, DataQualityError
from schemas.extras import missing
from schemas.places import on_this_machine, within
from trainer.data.arrays import array_of
from trainer.data.reader import order_of
from trainer.data.refresh import DataFile, Refresh, no_longer_read, open_refresh

if TYPE_CHECKING:
    from torch.utils.data import TensorDataset

PARTS = ("sampled", "holdout")
TARGETS = ("label", "weight", "offset")
# Columns that are no feature of the model, whatever the pipeline.
_BESIDE = {
    *("refresh_id", "instance_id", "position", *TARGETS, "probability", "segments", "forward"),
    "row_weight",
}


def read_refresh(
    warehouse: str, refresh: str, part: Literal["sampled", "holdout"] = "sampled"
) -> pa.Table:
    """All rows of a refresh, in the order of their position.

    Columns: instance_id, position, the encoded features in the pipeline's order (a category's code
    int32, a number float32, a tensor a list of float32), label; then weight, offset and probability
    of "sampled", or segments and forward of "holdout", whose rows are never to be trained on. With
    labels.weight both have row_weight, what the row itself counts for, null for 1; it is in the
    weight of "sampled" already.

    The files are those that the manifest names, checked against it and their SHA-256, and the rows
    are counted. Raises ConfigurationError where the refresh or a table does not exist or `part` is
    another word, DataQualityError where a refresh is not what its manifest says any more.
    """
    if part not in PARTS:
        raise ConfigurationError(
            f"part = {part!r}: unknown. Remedy: choose one of {', '.join(PARTS)}."
        )
    opened = open_refresh(warehouse, None, refresh)
    files, rows = _files_of(opened, part)
    try:
        whole = _read(files) if files else _empty(warehouse, part)
    except (OSError, pa.ArrowException) as error:
        raise no_longer_read(refresh, error) from error
    what = f"refresh {refresh}, table {part}"
    if len(whole) != rows:
        raise DataQualityError(
            f"{what}: {len(whole)} rows were read, the manifest says {rows}. Remedy: run"
            " `tenforward select --rebuild` for its date."
        )
    order = order_of(whole["position"].to_numpy(), what)
    return whole if order is None else whole.take(pa.array(order))


def feature_columns(table: pa.Table) -> list[str]:
    """The names of the features in such a table, in the pipeline's order."""
    return [name for name in table.column_names if name not in _BESIDE]


def torch_dataset(table: pa.Table) -> "TensorDataset":
    """Such a table as a `TensorDataset`, to be given to any `DataLoader`.

    Its tensors: codes (n, categories) int64, numbers (n, numbers) float32, one (n, size) float32
    for each tensor feature, then label, weight and offset (n,) float32; weight is 1 and offset 0
    where the table has none. Raises ConfigurationError where torch is not installed.
    """
    try:
        import torch
        from torch.utils.data import TensorDataset
    except ModuleNotFoundError as error:
        raise missing(error) or error from error

    arrays = {name: array_of(name, table[name]) for name in feature_columns(table)}
    flat = [array for array in arrays.values() if array.ndim == 1]
    codes = [array for array in flat if array.dtype.kind == "i"]
    numbers = [array for array in flat if array.dtype.kind == "f"]
    count, held = len(table), set(table.column_names)
    absent = {"weight": np.ones, "offset": np.zeros}
    inputs: list[NDArray[Any]] = [
        np.stack(codes, 1).astype(np.int64) if codes else np.empty((count, 0), np.int64),
        np.stack(numbers, 1).astype(np.float32) if numbers else np.empty((count, 0), np.float32),
        *(array for array in arrays.values() if array.ndim == 2),
    ]
    targets: list[NDArray[Any]] = [
        table[name].to_numpy() if name in held else absent[name](count, np.float32)
        for name in TARGETS
    ]
    return TensorDataset(*(torch.from_numpy(array.copy()) for array in [*inputs, *targets]))


def _files_of(refresh: Refresh, part: str) -> tuple[list[DataFile], int]:
    """The files of a part that hold rows, by position, and how many rows there are to be."""
    files, rows = {
        "sampled": (refresh.sampled, refresh.drawn),
        "holdout": (refresh.holdout, refresh.held_out),
    }[part]
    return sorted((file for file in files if file.rows), key=lambda file: file.start), rows


def _read(files: list[DataFile]) -> pa.Table:
    with on_this_machine([file.path for file in files]) as paths:
        tables = [pq.read_table(path, partitioning=None) for path in paths]
    return pa.concat_tables([table.replace_schema_metadata(None) for table in tables])


def _empty(warehouse: str, part: str) -> pa.Table:
    schema = pa.schema(Snapshot(within(warehouse, part)).schema().to_arrow())
    return schema.empty_table().drop(["refresh_id"])
