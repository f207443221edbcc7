"""The rows of a table, read in this process: a file at a time, no Spark."""

from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import date
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.foreign_source import foreign_source
from schemas.pipeline import Pipeline
from schemas.places import filesystem, within
from schemas.tables import all_tables
from spark_jobs.storage import logs

Files = Mapping[date, Sequence[Mapping[str, Any]]]  # of each event date, as `logs.files` gives them


def files_by_date(
    pipeline: Pipeline,
    warehouse: str,
    name: str,
    version: int | None = None,
    asked: int | None = None,
) -> Files:
    """The data files of each event date of a table, at a version or now; of a table elsewhere,
    their parts of that date. asked: the version of `instances`, as `foreign_source` takes it."""
    source = foreign_source(pipeline, warehouse, name, asked)
    files = (
        logs.files(within(warehouse, name), version) if source is None else source.parts(version)
    )
    found: dict[date, list[dict[str, Any]]] = {}
    for file in files:
        found.setdefault(file["partition"]["event_date"], []).append(file)
    return found


def rows_of_days(
    pipeline: Pipeline,
    warehouse: str,
    name: str,
    days: Set[date],
    columns: Sequence[str],
    files: Files | None = None,
    asked: int | None = None,
) -> Iterator[tuple[date, pa.Table]]:
    """Event date and columns of each file of these days, in the types of their definition; times
    in UTC. files: of the table, where they are known already."""
    known = files_by_date(pipeline, warehouse, name) if files is None else files
    for day, of_day in known.items():
        for file in of_day if day in days else ():
            yield day, rows_of_file(pipeline, warehouse, name, file, columns, asked)


def rows_of_file(
    pipeline: Pipeline,
    warehouse: str,
    name: str,
    file: Mapping[str, Any],
    columns: Sequence[str],
    asked: int | None = None,
) -> pa.Table:
    """Columns of one file of a table, in the types of their definition; times in UTC."""
    source = foreign_source(pipeline, warehouse, name, asked)
    if source is not None:
        return source.rows_of_part(file, columns)
    path, schema = within(warehouse, name), all_tables(pipeline)[name].arrow_schema
    store, place = filesystem(f"{path}/{unquote(file['path'])}")
    # By ParquetFile: a dataset would read the folder's name as a column.
    with pq.ParquetFile(place, filesystem=store, coerce_int96_timestamp_unit="us") as stored:
        read = stored.read(columns=list(columns))
    # Spark's timestamps come without their zone.
    return pa.table({one: typed(read, schema.field(one)) for one in columns})


def typed(rows: pa.Table, field: pa.Field) -> Any:
    """A column in the type of its definition; null in a file that is older than the column."""
    if field.name not in rows.column_names:
        return pa.nulls(rows.num_rows, field.type)
    return rows[field.name].cast(field.type)
