"""The files of a table that is somebody else's: versions, schema, and what they hold. No Spark.

A Delta table is pinned by its version. Parquet has none: there a digest of the list of files, with
their sizes and times, stands in for it, and a list that has changed cannot be read again.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import DeltaError
from pyarrow import fs

from schemas.errors import ConfigurationError, ConflictError, DataQualityError
from schemas.foreign import ForeignTable
from schemas.places import filesystem, size_of

_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
# Protocol features of readers that leave the rows in plain files, or all that is left of them.
_VECTORS = "deletionVectors"
_PLAIN = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", _VECTORS}


@dataclass(frozen=True)
class ForeignFile:
    """One data file: `path` from the table on, rows where they are known without reading it, the
    values of its partition by their names, least and largest of columns, by their names."""

    path: str
    bytes: int
    rows: int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    least: dict[str, Any] = field(default_factory=dict)
    most: dict[str, Any] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)
    state: str = ""  # of a file that may change under its name: size and time
    # Which of its rows are there, in order; all of those beyond its end, and without it all.
    kept: pa.BooleanArray | None = field(default=None, compare=False, repr=False)

    def place(self, table: ForeignTable) -> str:
        """Its path or URI."""
        whole = self.path.startswith("/") or "://" in self.path
        return self.path if whole else f"{table.place}/{self.path}"


def version_of(table: ForeignTable) -> int:
    """The newest version of a Delta table; of Parquet a digest of its files, 53 bits."""
    if table.format == "delta":
        return snapshot_of(table).version()
    return digest_of(files_of(table))


def digest_of(files: Sequence[ForeignFile]) -> int:
    """What stands in for a version that Parquet has not."""
    lines = "\n".join(f"{file.path} {file.state}" for file in files)
    return int.from_bytes(hashlib.sha256(lines.encode()).digest()[:8], "big") >> 11


def snapshot_of(table: ForeignTable, version: int | None = None) -> Snapshot:
    """A Delta table at a version. Raises ConfigurationError where it, or the version, is gone."""
    if not Snapshot.is_deltatable(table.place):
        raise ConfigurationError(
            f"table {table}: no Delta table is there. Remedy: correct {table.section}.path or"
            " .format, or restore the table."
        )
    try:
        return Snapshot(table.place, version=version)
    except DeltaError as error:
        if version is None:
            raise
        raise _vacuumed(table, version, str(error).splitlines()[0]) from error


def _vacuumed(table: ForeignTable, version: int, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"table {table}: version {version}, which is pinned, cannot be read any more ({what})."
        " Remedy: keep its log and files for longer (delta.logRetentionDuration,"
        " delta.deletedFileRetentionDuration, an older VACUUM); a refresh is made from the table as"
        " it is by `tenforward select --force`."
    )


def files_of(table: ForeignTable, version: int | None = None) -> list[ForeignFile]:
    """Every data file at a version, by path.

    Raises ConfigurationError where the table or the version is gone, ConflictError where Parquet
    files are others than those of the version, or than a moment ago.
    """
    if table.format == "delta":
        return _of_delta(table, version)
    found = _of_folder(table)
    if version is not None and digest_of(found) != version:
        raise ConflictError(
            f"table {table}: Parquet has no versions, and its files have changed since they were"
            " listed. Remedy: repeat the command when nobody writes there; what was drawn from the"
            " files as they were is drawn anew by `tenforward select --force`."
        )
    return found


def _of_delta(table: ForeignTable, version: int | None) -> list[ForeignFile]:
    snapshot = snapshot_of(table, version)
    _require_plain(table, snapshot)
    actions = pa.table(snapshot.get_add_actions()).to_pylist()
    vectors = _vectors(table, snapshot, [unquote(action["path"]) for action in actions])
    found = []
    for action in actions:
        path, rows = unquote(action["path"]), action.get("num_records")
        kept = vectors.get(path)
        if rows is not None and kept is not None:
            rows = int(rows) - (len(kept) - kept.true_count)
        found.append(
            ForeignFile(
                path,
                int(action["size_bytes"]),
                None if rows is None else int(rows),
                action.get("partition") or {},
                action.get("min") or {},
                action.get("max") or {},
                action.get("null_count") or {},
                kept=kept,
            )
        )
    return sorted(found, key=lambda file: file.path)


def _vectors(
    table: ForeignTable, snapshot: Snapshot, paths: Sequence[str]
) -> dict[str, pa.BooleanArray]:
    """The deletion vector of each of these files that has one, true where a row is there. Raises
    DataQualityError where one cannot be read, or whose it is cannot be told."""
    if _VECTORS not in (snapshot.protocol().reader_features or []):
        return {}
    try:
        found = pa.table(snapshot.deletion_vectors())
    except (DeltaError, OSError) as error:
        raise DataQualityError(
            f"table {table}: a deletion vector cannot be read ({error}): vacuumed, or damaged."
            " Remedy: repeat the command when nobody writes there, or restore the file."
        ) from error
    by_name: dict[str, list[str]] = {}
    for path in paths:
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    vectors = {}
    for number, place in enumerate(found["filepath"].to_pylist()):
        owner = _whose(table, place, by_name)
        if owner is not None:
            vectors[owner] = found["selection_vector"][number].values
    return vectors


def _whose(table: ForeignTable, place: str, by_name: Mapping[str, Sequence[str]]) -> str | None:
    """Which of the files a place names: by its own name, which writers of Delta make of random
    letters, and where folders have files of one name, as in a lake that was converted, by its path.
    """
    found = by_name.get(unquote(place).rpartition("/")[2], [])
    if len(found) > 1:
        ends = (f"/{unquote(place)}", f"/{place}")
        found = [path for path in found if any(end.endswith(f"/{path}") for end in ends)]
        if len(found) != 1:
            raise DataQualityError(
                f"table {table}: {len(found)} files may be {place}, which has a deletion vector."
                " Remedy: REORG TABLE ... APPLY (PURGE) takes the vectors away."
            )
    return found[0] if found else None


def _require_plain(table: ForeignTable, snapshot: Snapshot) -> None:
    """Refuse rows that are not in plain files: half of the commands would read others."""
    features = {str(one) for one in snapshot.protocol().reader_features or []}
    wrong = sorted(features - _PLAIN)
    configured = snapshot.metadata().configuration
    if configured.get("delta.columnMapping.mode", "none") not in (None, "none"):
        wrong.append("columnMapping")
    if wrong:
        raise ConfigurationError(
            f"table {table}: its rows need {', '.join(wrong)} to be read, and readers of plain"
            f" files would see others than Spark does. Remedy: ALTER TABLE delta.`{table.place}`"
            " DROP FEATURE ..., or ingest its rows into a table of the warehouse."
        )


def _of_folder(table: ForeignTable) -> list[ForeignFile]:
    store, root = filesystem(table.place)
    info = store.get_file_info(root)
    if info.type == fs.FileType.NotFound:
        raise ConfigurationError(
            f"table {table}: nothing is there. Remedy: correct {table.section}.path, or restore the"
            " files."
        )
    if info.type == fs.FileType.File:
        listed = [info]
    else:
        listed = store.get_file_info(fs.FileSelector(root, recursive=True))
    found = []
    for one in listed:
        name = one.path.removeprefix(root).strip("/") or one.base_name
        if one.is_file and not _is_hidden(name):
            state = f"{one.size} {one.mtime_ns}"
            found.append(ForeignFile(name, one.size, values=_hive(name), state=state))
    return sorted(found, key=lambda file: file.path)


def _is_hidden(name: str) -> bool:
    """Whether Spark passes over it: by a part of its name, unless that is a partition."""
    parts = name.split("/")
    return any(p.startswith(".") or (p.startswith("_") and "=" not in p) for p in parts)


def _hive(name: str) -> dict[str, Any]:
    """The values in the names of a file's folders, as text."""
    pairs = (part.split("=", 1) for part in name.split("/")[:-1] if "=" in part)
    return {key: None if value == _NO_PARTITION else unquote(value) for key, value in pairs}


def is_whole(table: ForeignTable, version: int) -> bool:
    """Whether a version can still be read: its log, and every file."""
    try:
        files = files_of(table, version)
    except (ConfigurationError, ConflictError, DataQualityError, DeltaError, OSError):
        return False
    return all(size_of(file.place(table)) is not None for file in files)


def opened(table: ForeignTable, file: ForeignFile) -> pq.ParquetFile:
    """A file to read. Raises DataQualityError, which names it, where it is gone or damaged."""
    store, place = filesystem(file.place(table))
    try:
        # Spark's old form of a moment has no unit: in nanoseconds those after 2262 wrap round.
        return pq.ParquetFile(place, filesystem=store, coerce_int96_timestamp_unit="us")
    except (OSError, pa.ArrowException) as error:
        raise gone(table, file, error) from error


def gone(table: ForeignTable, file: ForeignFile, error: Exception) -> DataQualityError:
    """What is said of a file that cannot be read."""
    return DataQualityError(
        f"table {table}: {file.place(table)} cannot be read ({error}): it was deleted, vacuumed or"
        " damaged while somebody still named it. Remedy: repeat the command when nobody writes"
        " there, or restore the file."
    )


def newest(table: ForeignTable, version: int, column: str) -> datetime | None:
    """The largest moment in a column of ours, by the statistics of files; None where one of them
    has none."""
    theirs = table.columns.get(column)
    found = [file.most.get(theirs or "") for file in files_of(table, version)]
    moments = [one for one in found if isinstance(one, datetime)]
    if not moments or len(moments) < len(found):
        return None
    return max(one.replace(tzinfo=one.tzinfo or UTC).astimezone(UTC) for one in moments)


def types_of(table: ForeignTable, version: int | None = None) -> Iterator[tuple[str, str, str]]:
    """Where, column and type in Arrow's words, of every column of theirs: of Delta as its log has
    it, of Parquet by every file and the names of its folders."""
    if table.format == "delta":
        snapshot = snapshot_of(table, version)
        _require_plain(table, snapshot)
        for one in pa.schema(snapshot.schema().to_arrow()):
            yield f"version {snapshot.version()}", one.name, _plain(one.type)
        return
    for file in files_of(table, version):
        for name in file.values:
            yield file.path, name, "string"
        with opened(table, file) as parquet:
            for one in parquet.schema_arrow:
                yield file.path, one.name, _plain(one.type)


def _plain(kind: pa.DataType) -> str:
    """A type without what Arrow alone tells apart."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or "list_view" in str(kind):
        return f"list<{_plain(kind.value_type)}>"
    if "string" in str(kind):
        return "string"
    return str(kind)
