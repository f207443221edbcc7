"""What it costs to read a foreign table by event date: which of its files a window needs."""

from datetime import date, datetime
from typing import Any

from schemas.foreign import ForeignTable
from schemas.foreign_files import ForeignFile, files_of


def scan_of(table: ForeignTable, days: int) -> dict[str, Any]:
    """Files and bytes of the table, those that the newest `days` of its dates need, and why.

    Of Delta by the log alone. A file counts for a window unless its folder or the least and largest
    values of its column say that it has no row there.
    """
    files = files_of(table)
    spans = [_span(table, file) for file in files]
    last = max((span[1] for span in spans if span is not None), default=None)
    needed = files
    if last is not None:
        first = last.toordinal() - days + 1
        needed = [
            file
            for file, span in zip(files, spans, strict=True)
            if span is None or span[1].toordinal() >= first
        ]
    return {
        "place": table.place,
        "format": table.format,
        "versions": "Delta" if table.format == "delta" else "none: pinned by a digest of its files",
        "files": len(files),
        "bytes": sum(file.bytes for file in files),
        "window_days": days,
        "window_files": len(needed),
        "window_bytes": sum(file.bytes for file in needed),
        "read_by": _read_by(table, files, spans),
    }


def _moment_column(table: ForeignTable) -> str | None:
    """Theirs by which a window is found; None where their rows do not say it."""
    for name in ("event_date", "event_time", *table.definition.column_names):
        kinds = {column.name: column.type for column in table.definition.columns}
        dated = name in ("event_date", "event_time") or (
            not table.is_dated and kinds.get(name) == "timestamp"
        )
        if dated and name in table.columns:
            return table.columns[name]
    return None


def _span(table: ForeignTable, file: ForeignFile) -> tuple[date, date] | None:
    """First and last date of a file, by its folder or its statistics; None if neither says it."""
    theirs = _moment_column(table)
    if theirs is None:
        return None
    if theirs in file.values:
        day = _day(file.values[theirs])
        return None if day is None else (day, day)
    least, most = _day(file.least.get(theirs)), _day(file.most.get(theirs))
    return None if least is None or most is None else (least, most)


def _day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, date) else None


def _read_by(table: ForeignTable, files: list[ForeignFile], spans: list[Any]) -> str:
    """In words, how a window is found in the table."""
    theirs = _moment_column(table)
    told = []
    if theirs is None:
        told.append("no date of its own: every window reads the whole table")
    elif files and all(theirs in file.values for file in files):
        told.append(f"partitioned by {theirs}: only the folders of the window are read")
    elif files and all(span is not None for span in spans):
        told.append(
            f"not partitioned by date: least and largest {theirs} of each file leave some out"
        )
    else:
        told.append(
            f"not partitioned by date, and files without statistics of {theirs}: every window reads"
            " that column of the whole table"
        )
    if table.asks_instances:
        told.append(
            "the day of a label is that of its instance: each reading joins it with all ids and"
            " moments of the instances (labels.event_date or labels.event_time would save that)"
        )
    return "; ".join(told)
