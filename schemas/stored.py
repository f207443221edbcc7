"""The rows of a Delta table in Arrow, without Spark: for tables that are small."""

from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from pyarrow.dataset import Dataset, dataset

from schemas.places import filesystem


def stored(
    table: Snapshot, schema: pa.Schema, partitions: list[tuple[str, str, str]] | None = None
) -> Dataset | None:
    """The rows of a snapshot in the types of the definition; None where it has no file.

    partitions: conditions on the columns that part the table, such as ("event_date", ">=", "...").

    By its files: delta-rs 1.6 hands out Arrow forms (string views) that pyarrow 14 cannot take. And
    with the definition's schema: Spark's timestamps come without their zone, and an older file
    lacks later columns.
    """
    files = [unquote(uri) for uri in table.file_uris(file_pruning_predicate=partitions)]
    if not files:
        return None
    store, _ = filesystem(files[0])
    paths = [filesystem(file)[1] for file in files]
    return dataset(paths, schema=schema, format="parquet", filesystem=store)
