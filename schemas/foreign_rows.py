"""The rows of a foreign table in Arrow, under our names and in our types. No Spark.

A file of theirs may hold many event dates, or one; readers that go by date see it in *parts*, one a
date, which look like the files of a table of our own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import TYPES
from schemas.errors import ConfigurationError, DataQualityError
from schemas.foreign import ForeignTable
from schemas.foreign_commits import commit_moments
from schemas.foreign_files import ForeignFile, files_of, gone, opened, types_of, version_of
from schemas.sections.fault import Fault

_MOMENT = TYPES["timestamp"].arrow

# By our type, theirs that become it without loss; both readers cast from these and no others.
_WHOLE = ("int8", "int16", "int32", "int64")
_MOMENTS = tuple(f"timestamp[{unit}{zone}]" for unit in ("s", "ms", "us") for zone in ("", ", tz="))
READ_AS: dict[str, tuple[str, ...]] = {
    "string": ("string", *_WHOLE),
    "bool": ("bool",),
    "int32": _WHOLE[:3],
    "int64": _WHOLE,
    "float32": ("float", "int8", "int16"),
    "float64": ("double", "float", *_WHOLE[:3]),
    "date": ("date32[day]",),
    "timestamp": _MOMENTS,
    "strings": ("list<string>",),
    "floats": ("list<float>",),
}
READ_BY = ("date32[day]", "string")  # of the column event_date, which may be text


@dataclass(frozen=True)
class AskedAt:
    """When each instance was asked: instance_id (unique), event_time, event_date; of which table
    and version."""

    rows: pa.Table
    version: tuple[str, int]

    @staticmethod
    def of(rows: Iterator[pa.Table], version: tuple[str, int]) -> "AskedAt":
        """Of the rows of `instances`; of an id on several rows the least."""
        whole = pa.concat_tables([_ASKED.empty_table(), *(one.cast(_ASKED) for one in rows)])
        least = [("event_time", "min"), ("event_date", "min")]
        one = whole.group_by("instance_id").aggregate(least)
        found = one.select(["instance_id", "event_time_min", "event_date_min"])
        return AskedAt(found, version)

    def moments(self, ids: Any) -> tuple[Any, Any]:
        """Event time and date of these instances, null of unknown ones."""
        place = pc.index_in(ids, value_set=self.rows["instance_id"].combine_chunks())
        return self.rows["event_time_min"].take(place), self.rows["event_date_min"].take(place)


_ASKED = pa.schema(
    [("instance_id", pa.string()), ("event_time", _MOMENT), ("event_date", pa.date32())]
)


def require_columns(table: ForeignTable, version: int | None = None) -> None:
    """Refuse a foreign table that lacks a column, or has one of another type. ConfigurationError,
    a line a column."""
    faults = list(column_faults(table, version))
    if faults:
        lines = "\n".join(map(str, faults))
        raise ConfigurationError(lines, faults=[fault.as_dict() for fault in faults])


def column_faults(table: ForeignTable, version: int | None = None) -> Iterator[Fault]:
    """The columns of ours that a foreign table lacks, or has in another type."""
    met: dict[str, list[tuple[str, str]]] = {}
    for where, column, kind in types_of(table, version):
        met.setdefault(column, []).append((where, kind))
    for ours, theirs in table.columns.items():
        field = table.field_of(ours)
        if theirs not in met:
            if met:  # a folder without a file has no column
                remedy = f"name the column that holds {ours}, of {', '.join(met)}"
                yield Fault(field, theirs, f"table {table} has no such column", remedy)
            continue
        wanted = _wanted(table, ours)
        wrong = [(where, kind) for where, kind in met[theirs] if not _fits(kind, wanted)]
        if wrong:
            where, kind = wrong[0]
            plain = dict.fromkeys(one.removesuffix(", tz=]") for one in wanted)
            problem = f"table {table} has it as {kind} ({where}), wanted is {' or '.join(plain)}"
            yield Fault(field, theirs, problem, _remedy(ours, kind))


def _wanted(table: ForeignTable, ours: str) -> tuple[str, ...]:
    if ours == "event_date":
        return READ_BY
    kinds = {column.name: column.type for column in table.definition.columns}
    return READ_AS[kinds.get(ours, "timestamp")]


def _fits(kind: str, wanted: Sequence[str]) -> bool:
    return any(kind == one or ("tz=" in one and kind.startswith(one[:-1])) for one in wanted)


def _remedy(ours: str, kind: str) -> str:
    if kind.startswith("timestamp[ns"):
        return "write it in microseconds, which Spark reads"
    found = next((name for name, forms in TYPES.items() if str(forms.arrow) == kind), None)
    own = f', or declare {ours} as "{found}"' if found else ""
    return f"name another column{own}"


def parts_of(
    table: ForeignTable, version: int | None = None, asked: AskedAt | None = None
) -> list[dict[str, Any]]:
    """The data files in parts of one event date: `path`, `rows`, `bytes`, `partition` with the
    date, and `file`. Of a view the files. Rows without a date are in none.

    A file whose statistics say one date is not opened.
    """
    version = version_of(table) if version is None else version
    moments = None if asked is None else asked.version
    key = (table.place, version, moments, table.known, tuple(sorted(table.columns.items())))
    if key not in _PARTS:
        if len(_PARTS) > _KEPT:
            _PARTS.clear()
        files = files_of(table, version)
        commits = _commits(table, version, files)
        _PARTS[key] = [p for file in files for p in _parts(table, file, asked, commits)]
    return _PARTS[key]


_PARTS: dict[Any, list[dict[str, Any]]] = {}  # of versions, which do not change
_KEPT = 16


def _commits(table: ForeignTable, version: int, files: Sequence[ForeignFile]) -> dict[str, int]:
    if table.known != "commit":
        return {}
    return commit_moments(table, version, {file.path for file in files})


def _parts(
    table: ForeignTable, file: ForeignFile, asked: AskedAt | None, commits: Mapping[str, int]
) -> list[dict[str, Any]]:
    def part(rows: int, day: date | None) -> dict[str, Any]:
        found = {"path": file.path, "rows": rows, "bytes": file.bytes, "file": file}
        found |= {"state": file.state} if file.state else {}
        dated = {"event_date": day} if table.is_dated else {}
        return found | {"partition": dated, "committed": commits.get(file.path)}

    if not table.is_dated:
        return [part(_count(table, file), None)]
    day = _only_day(table, file)
    if day is not None:
        return [part(_count(table, file), day)]
    rows = _rows(table, part(0, None), ["event_date"], asked)
    counted = pc.value_counts(rows["event_date"].combine_chunks()).to_pylist()
    return [part(one["counts"], one["values"]) for one in counted if one["values"] is not None]


def _only_day(table: ForeignTable, file: ForeignFile) -> date | None:
    """The one event date of a file, where its folder or its statistics say it."""
    theirs = table.columns.get("event_date")
    if theirs is not None and theirs in file.values:
        value = file.values[theirs]
        return _date(table, value) if isinstance(value, str) else value
    theirs = theirs or table.columns.get("event_time", "")
    if file.nulls.get(theirs) != 0:
        return None
    least, most = (_day(of.get(theirs)) for of in (file.least, file.most))
    return least if least is not None and least == most else None


def _day(value: Any) -> date | None:
    return value.date() if isinstance(value, datetime) else value if type(value) is date else None


def _date(table: ForeignTable, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _no_date(table, text) from None


def _no_date(table: ForeignTable, text: str) -> DataQualityError:
    return DataQualityError(
        f"{table.section}.event_date = {table.columns['event_date']!r}: table {table} holds"
        f" {text!r}, which is no date. Remedy: name a column of dates, or of text like 2026-02-01;"
        " or leave it out, and the date is derived from the event time."
    )


def _count(table: ForeignTable, file: ForeignFile) -> int:
    if file.rows is not None:
        return file.rows
    with opened(table, file) as parquet:
        rows = int(parquet.metadata.num_rows)
    return rows if file.kept is None else rows - (len(file.kept) - file.kept.true_count)


def rows_of_part(
    table: ForeignTable, part: Mapping[str, Any], columns: Sequence[str], asked: AskedAt | None
) -> pa.Table:
    """Columns of ours of one part, in the types of their definition; times in UTC."""
    day = part["partition"].get("event_date")
    if day is None or part["rows"] == _count(table, part["file"]):
        return _rows(table, part, columns, asked)
    rows = _rows(table, part, list(dict.fromkeys([*columns, "event_date"])), asked)
    return rows.filter(pc.equal(rows["event_date"], pa.scalar(day, pa.date32()))).select(columns)


def all_rows(
    table: ForeignTable, version: int | None, columns: Sequence[str], asked: AskedAt | None = None
) -> Iterator[pa.Table]:
    """Columns of ours of every file at a version, or now; rows without a date as well."""
    version = version_of(table) if version is None else version
    files = files_of(table, version)
    commits = _commits(table, version, files)
    for file in files:
        part: dict[str, Any] = {"file": file, "committed": commits.get(file.path), "partition": {}}
        yield _rows(table, part, columns, asked)


def _rows(
    table: ForeignTable, part: Mapping[str, Any], columns: Sequence[str], asked: AskedAt | None
) -> pa.Table:
    """Columns of a whole file; what is derived, from those that it takes."""
    file: ForeignFile = part["file"]
    stored = _stored(table, file, _needed(table, columns))
    found = {name: stored[name] for name in columns if name in stored}
    count = next((len(one) for one in stored.values()), 0)
    event, day = stored.get("event_time"), stored.get("event_date")
    if table.asks_instances and {"event_date", "known_at"} & {*columns}:
        assert asked is not None  # whoever reads such labels brings the instances
        event, asked_on = asked.moments(stored["instance_id"])
        day = asked_on if day is None else day
    known = _known(table, part, count, stored, event)
    if "event_date" in columns:
        of = event.cast(pa.date32()) if day is None and event is not None else day
        # A label of no instance has the date of when it became known: it is found as such.
        if table.asks_instances and "event_date" not in table.columns:
            of = pc.coalesce(of, known.cast(pa.date32()))
        found["event_date"] = of
    if "known_at" in columns and table.known is not None:
        found["known_at"] = known
    return pa.table({name: found[name] for name in columns})


def _known(
    table: ForeignTable, part: Mapping[str, Any], count: int, stored: Mapping[str, Any], event: Any
) -> Any:
    if table.known == "commit":
        return pa.repeat(pa.scalar(part["committed"], pa.int64()), count).cast(_MOMENT)
    if isinstance(table.known, timedelta):
        return None if event is None else pc.add(event, pa.scalar(table.known, pa.duration("us")))
    return stored.get("known_at")


def _needed(table: ForeignTable, columns: Sequence[str]) -> list[str]:
    """The columns that are read for these: themselves, and what others are derived from."""
    needed = [name for name in columns if name in table.columns]
    derived = [name for name in columns if name not in table.columns]
    if derived:
        if table.asks_instances:
            needed += ["instance_id", *(["known_at"] if table.known is None else [])]
        needed += ["event_time"] if "event_time" in table.columns else []
        needed += ["event_date"] if "event_date" in table.columns else []
    return list(dict.fromkeys(needed or [next(iter(table.columns))]))


def _stored(table: ForeignTable, file: ForeignFile, columns: Sequence[str]) -> dict[str, Any]:
    """Columns of ours that stand in a file or in its folder's name, in our types; null where an
    older file lacks one."""
    wanted = {name: table.columns[name] for name in columns}
    in_file = [theirs for theirs in dict.fromkeys(wanted.values()) if theirs not in file.values]
    try:
        with opened(table, file) as parquet:
            there = [name for name in in_file if name in parquet.schema_arrow.names]
            read, count = parquet.read(columns=there), int(parquet.metadata.num_rows)
        if file.kept is not None:
            beyond = pa.repeat(pa.scalar(True), count - len(file.kept))
            kept = pa.concat_arrays([file.kept, beyond])
            read, count = read.filter(kept), kept.true_count
    except (OSError, pa.ArrowException) as error:
        raise gone(table, file, error) from error
    kinds = {column.name: TYPES[column.type].arrow for column in table.definition.columns}
    found = {}
    for ours, theirs in wanted.items():
        kind = kinds.get(ours, _MOMENT)
        if theirs in file.values:
            value = file.values[theirs]
            found[ours] = pa.repeat(pa.scalar(value), count).cast(kind)
        elif theirs not in there:
            found[ours] = pa.nulls(count, kind)
        else:
            found[ours] = _typed(table, ours, read[theirs], kind)
    return found


def _typed(table: ForeignTable, ours: str, values: Any, kind: pa.DataType) -> Any:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_timestamp(values.type) and values.type.unit == "ns":  # Spark's own form
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    try:
        return values.cast(kind)
    except pa.ArrowInvalid as error:
        if ours == "event_date":
            raise _no_date(table, str(error).partition(":")[2].strip() or str(error)) from error
        raise
