"""What the log of a Delta table says: its versions, files and rows. By delta-rs, without Spark.

Every function takes the path or URI of a table (`schemas.places.within`).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import DeltaError
from pyarrow import fs

from schemas.columns import Table
from schemas.errors import ConfigurationError
from schemas.footer import rows_in
from schemas.foreign_source import foreign_source
from schemas.ownership import require_owner
from schemas.pipeline import Pipeline
from schemas.places import filesystem, size_of, within
from schemas.tables import all_tables


def exists(path: str) -> bool:
    """Whether there is a table."""
    return bool(Snapshot.is_deltatable(path))


def there(pipeline: Pipeline, warehouse: str, name: str) -> bool:
    """Whether there is a table of the pipeline, in the warehouse or elsewhere."""
    source = foreign_source(pipeline, warehouse, name)
    if source is None or source.table.format == "delta":
        return exists(within(warehouse, name) if source is None else source.table.place)
    store, path = filesystem(source.table.place)
    return bool(store.get_file_info(path).type != fs.FileType.NotFound)


def version(path: str) -> int:
    """The newest version."""
    return Snapshot(path).version()


def files(path: str, version: int | None = None) -> list[dict[str, Any]]:
    """Every data file of a version: path, rows, bytes and partition values, by path.

    Rows are those of the log's statistics; of a file that it has none of, those of its footer.
    """
    actions = Snapshot(path, version=version).get_add_actions()
    entries = [
        {
            "path": action["path"],
            "rows": _rows(path, action),
            "bytes": action["size_bytes"],
            "partition": action.get("partition") or {},
        }
        for action in pa.table(actions).to_pylist()
    ]
    return sorted(entries, key=lambda file: str(file["path"]))


def _rows(path: str, action: Mapping[str, Any]) -> int:
    known, file = action.get("num_records"), unquote(action["path"])
    if known is not None:
        return int(known)
    return rows_in(file if file.startswith("/") or "://" in file else f"{path}/{file}")


def rows_by_date(path: str, version: int | None = None) -> dict[date, int]:
    """Rows of each event date, by the log; where it has no statistics, by the files' footers."""
    return counted(files(path, version))


def counted(files: Sequence[Mapping[str, Any]]) -> dict[date, int]:
    """Rows of each event date in data files, as `files` gives them."""
    counts: dict[date, int] = {}
    for file in files:
        day = file["partition"]["event_date"]
        counts[day] = counts.get(day, 0) + file["rows"]
    return counts


def newest(path: str, version: int, column: str) -> datetime | None:
    """The largest moment in a column, UTC, by the statistics of files; None without any."""
    actions = pa.table(Snapshot(path, version=version).get_add_actions(flatten=True))
    if f"max.{column}" not in actions.column_names:
        return None
    found = pc.max(actions[f"max.{column}"].cast(pa.timestamp("us", tz="UTC"))).as_py()
    return None if found is None else found.astimezone(UTC)


def is_whole(path: str, version: int) -> bool:
    """Whether a version can still be read: its commits, and every file."""
    try:
        there = files(path, version)
    except (DeltaError, OSError):
        return False
    return all(size_of(f"{path}/{unquote(file['path'])}") is not None for file in there)


def require(pipeline: Pipeline, warehouse: str, *names: str) -> None:
    """Refuse a warehouse that lacks a table or a column, or that is another pipeline's; an optional
    table may be lacking.

    Raises ConfigurationError.
    """
    tables = all_tables(pipeline)
    for name in names:
        if tables[name].optional and not there(pipeline, warehouse, name):
            continue
        _require_columns(tables[name], require_owned(pipeline, warehouse, name))


def require_owned(pipeline: Pipeline, warehouse: str, name: str) -> pa.Schema:
    """The schema of a table, whatever its columns are; it must be there, and be the pipeline's.
    Of a table elsewhere, which must fit, its definition.

    Raises ConfigurationError.
    """
    source = foreign_source(pipeline, warehouse, name)
    if source is not None:  # whose columns may have any name, and whose owner is not asked
        source.require()
        return source.table.definition.arrow_schema
    path = within(warehouse, name)
    if not exists(path):
        raise ConfigurationError(
            f"table {name} = {path}: not found. Remedy: run `tenforward ingest`"
            " (or `tenforward init` for tables of your own), or correct --warehouse."
        )
    snapshot = Snapshot(path)
    require_owner(snapshot, pipeline.name, warehouse)
    return pa.schema(snapshot.schema().to_arrow())


def _require_columns(table: Table, stored: pa.Schema) -> None:
    """Refuse a table whose columns are not those of the definition."""
    for field in table.arrow_schema:
        index = stored.get_field_index(field.name)
        actual = "no such column" if index < 0 else str(stored.field(index).type)
        if actual.replace("item: ", "element: ") != str(field.type).replace("item: ", "element: "):
            raise ConfigurationError(
                f"table {table.name}, column {field.name}: expected {field.type}, found {actual}."
                " Remedy: run `tenforward init`, which adds what a later release brought; or"
                " `tenforward migrate`, which adds your own columns too (--dry-run says which); or"
                " correct the pipeline file."
            )
