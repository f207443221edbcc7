"""Reading the table `refreshes` without Spark: its rows are small and few."""

from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
from deltalake import DeltaTable as Snapshot

from schemas.places import filesystem
from schemas.tables import refreshes

REPORT_CARDS = "report_cards"  # the folder of the HTML report cards, in the warehouse


def read_manifests(path: str, **wanted: str) -> list[dict[str, Any]]:
    """Manifests in the table at `path` whose columns equal `wanted`, newest day first.

    By its files: delta-rs 1.6 hands out Arrow forms (string views) that pyarrow 14 cannot take.
    Raises deltalake's TableNotFoundError where there is no table.
    """
    files = [unquote(uri) for uri in Snapshot(path).file_uris()]
    if not files:
        return []
    table = refreshes()
    store, _ = filesystem(files[0])
    read = pq.read_table(
        [filesystem(file)[1] for file in files],
        filesystem=store,
        filters=[(name, "=", value) for name, value in wanted.items()] or None,
        columns=table.column_names,
        partitioning=None,
    )
    # Spark's timestamps come without their zone.
    rows: list[dict[str, Any]] = read.cast(table.arrow_schema).to_pylist()
    return sorted(rows, key=lambda row: (row["ds"], row["created_at"]), reverse=True)
