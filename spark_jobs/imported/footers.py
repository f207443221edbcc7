"""The files of a Parquet log, before Spark reads them: each whole, and all of one form.

Spark takes the types of one file for those of all, passes over empty files, and fails in the midst
of others without naming a column.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from schemas.errors import ConfigurationError, DataQualityError
from schemas.places import filesystem

AT_ONCE = 16  # footers

# Types that Spark 4.0 does not read, and what to write instead.
UNREAD = {
    "timestamp[ns": "TIMESTAMP in microseconds, in pandas by to_parquet(coerce_timestamps='us')",
    "time32": "TIMESTAMP in microseconds, or STRING",
    "time64": "TIMESTAMP in microseconds, or STRING",
}


def require_one_form(path: str) -> None:
    """Refuse files that are no Parquet, and columns that differ from file to file.

    path: a file or folder, of which Spark reads what begins with neither "_" nor "."; a pattern, or
    a place that only Spark knows, is left to Spark. Raises DataQualityError for a file that cannot
    be read, ConfigurationError for types.
    """
    try:
        store, root = filesystem(path)
        files = _files(store, root)
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        schemas = list(pool.map(partial(_schema, store), files))
    _require_types(files, schemas)


def _files(store: fs.FileSystem, root: str) -> list[str]:
    info = store.get_file_info(root)
    if info.type == fs.FileType.File:
        return [root]
    if info.type != fs.FileType.Directory:
        return []  # a pattern, or nothing: Spark says which
    found = store.get_file_info(fs.FileSelector(root, recursive=True))
    below = [(one, one.path.removeprefix(root).strip("/")) for one in found]
    return sorted(one.path for one, name in below if one.is_file and not _hidden(name))


def _hidden(name: str) -> bool:
    """Whether Spark passes over it: by a part of its name, unless that is a partition."""
    parts = name.split("/")
    return any(p.startswith(".") or (p.startswith("_") and "=" not in p) for p in parts) or (
        name.endswith("._COPYING_")
    )


def _schema(store: fs.FileSystem, file: str) -> pa.Schema:
    try:
        with store.open_input_file(file) as opened, pq.ParquetFile(opened) as parquet:
            leaves = iter([parquet.schema.column(n) for n in range(len(parquet.schema))])
            return pa.schema([(one.name, _read(one.type, leaves)) for one in parquet.schema_arrow])
    except (OSError, pa.ArrowInvalid) as error:
        raise DataQualityError(
            f"records.path: {file} is not a whole Parquet file ({error}). Remedy: write it again,"
            " or take it out of the folder; what begins with _ or . is passed over."
        ) from error


def _read(kind: pa.DataType, leaves: Iterator[pq.ColumnSchema]) -> pa.DataType:
    """A type as Spark reads it, given the leaves of the file from there on: INT96, the form in
    which Spark itself has long written TIMESTAMP, has no unit, and is none of nanoseconds."""
    if pa.types.is_struct(kind):
        return pa.struct([(one.name, _read(one.type, leaves)) for one in kind])
    if pa.types.is_map(kind):
        return pa.map_(_read(kind.key_type, leaves), _read(kind.item_type, leaves))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_read(kind.value_type, leaves))
    return pa.timestamp("us", tz="UTC") if next(leaves).physical_type == "INT96" else kind


def _require_types(files: Sequence[str], schemas: Sequence[pa.Schema]) -> None:
    met: dict[str, tuple[str, str, str]] = {}
    for file, schema in zip(files, schemas, strict=True):
        own: set[str] = set()
        for field in schema:
            kind, key = canonical(field.type), field.name.lower()  # Spark's names have no case
            if key in own:
                raise _refused(field.name, f"{file} has it twice", "give each column its own name")
            own.add(key)
            for begins, instead in UNREAD.items():
                if begins in kind:
                    what = f"{file} has {kind}, which Spark does not read"
                    raise _refused(field.name, what, f"write {instead}")
            name, first, where = met.setdefault(key, (field.name, kind, file))
            if name != field.name:
                what = f"{where} has it as {name!r}, {file} as {field.name!r}"
                raise _refused(field.name, what, "write the files anew with one name")
            if first != kind:
                what = f"{where} has {first}, {file} has {kind}"
                raise _refused(field.name, what, "write the files anew with one type")


def _refused(column: str, what: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"records.path, column {column!r}: {what}. Remedy: {remedy}.")


def canonical(kind: pa.DataType) -> str:
    """A type by what Spark makes of it: what Arrow alone tells apart has one name."""
    if pa.types.is_dictionary(kind):
        return canonical(kind.value_type)
    if pa.types.is_large_string(kind):
        return "string"
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "binary"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"list<{canonical(kind.value_type)}>"
    if pa.types.is_timestamp(kind):
        return f"timestamp[{kind.unit}{', UTC' if kind.tz else ''}]"
    return str(kind)
