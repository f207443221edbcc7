"""Every candidate of a refresh in files, each written by the process that decided on its rows.

Through a DataFrame each row would go back to Java and be encoded there value by value, which costs
more than all of selection. So the rows stay in Arrow: a Parquet file a shard, added to the Delta
log in one commit. The files alone say nothing; those of a task that was repeated are never added.
"""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, Transaction
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from schemas.columns import Table
from schemas.errors import DataQualityError
from schemas.places import filesystem
from schemas.tables import selection_probabilities
from spark_jobs.refresh.largest_losses import largest, told
from spark_jobs.selection.engine import SelectionResult
from spark_jobs.storage.warehouse import Warehouse, application_of, overtaken

TRIES = 20  # commits of other refreshes in a row, each of which makes ours look again
# The rest are numbers that rarely repeat, or columns of one value, which zstd makes small.
_REPEATING = ["model_version", "label"]
_RANGES = {column.name: column.range for column in selection_probabilities().columns}


class NewFile(NamedTuple):
    """A file that no table has yet."""

    path: str  # within the table
    rows: int
    bytes: int
    largest_losses: pa.Table


class StoredCandidates(NamedTuple):
    """The version of the table that holds them, and what the report tells of the largest losses."""

    version: int
    largest_losses: list[dict[str, Any]]


def store_candidates(
    warehouse: Warehouse, selection: SelectionResult, refresh_id: str
) -> StoredCandidates:
    """Write every candidate of a refresh in place of what was there.

    Raises ConflictError where another run writes the same refresh meanwhile.
    """
    table = selection_probabilities()
    store = partial(write_file, place=warehouse.path(table.name), refresh_id=refresh_id)
    files: list[NewFile] = []

    def write() -> list[NewFile]:
        files.extend(selection.stored(store))
        return files

    version = replace_files(warehouse, table, refresh_id, write)
    if warehouse.pipeline.selection.provisional_label is not None:
        return StoredCandidates(version, [])  # losses of labels that stand in surprise nobody
    most = told((file.largest_losses for file in files), warehouse.pipeline.task)
    return StoredCandidates(version, most)


def write_file(rows: pa.Table, *, place: str, refresh_id: str) -> NewFile:
    """The candidates as a file in the folder of the table. Raises what `require_fit` raises."""
    table = selection_probabilities()
    schema = pa.schema([f for f in table.arrow_schema if f.name not in table.partition_by])
    require_fit(rows, schema)
    rows = rows.select(schema.names).cast(schema)
    path = f"refresh_id={refresh_id}/part-{uuid.uuid4()}.zstd.parquet"
    store, name = filesystem(f"{place}/{path}")
    store.create_dir(name.rpartition("/")[0])
    pq.write_table(rows, name, filesystem=store, compression="zstd", use_dictionary=_REPEATING)
    return NewFile(path, rows.num_rows, store.get_file_info(name).size, largest(rows))


def require_fit(rows: pa.Table, schema: pa.Schema) -> None:
    """Hold the rows against the table's constraints, which Delta itself cannot check here.

    Raises DataQualityError that names the column and an offending value.
    """
    for field in schema:
        values = rows[field.name]
        if values.null_count and not field.nullable:
            raise _unfit(field.name, None)
        if not pa.types.is_floating(field.type):
            continue
        least, most, _ = _RANGES[field.name]
        fits = pc.and_(pc.greater_equal(values, least), pc.less_equal(values, most))  # not of NaN
        if not pc.all(fits, min_count=0).as_py():
            raise _unfit(field.name, values.filter(pc.invert(fits))[0].as_py())


def _unfit(column: str, value: float | None) -> DataQualityError:
    table = selection_probabilities()
    rule = "NOT NULL" if value is None else table.constraints[f"{column}_valid"]
    return DataQualityError(
        f"table {table.name}, column {column}: {value} violates {rule}; nothing was written."
        " Remedy: look at the records of that value, and reject them or mend their model."
    )


def replace_files(
    warehouse: Warehouse, table: Table, refresh_id: str, write: Callable[[], Sequence[NewFile]]
) -> int:
    """Replace the rows of one refresh by the files that `write` leaves, atomically; the version.

    Raises ConflictError where another run writes the same refresh meanwhile.
    """
    application = application_of(refresh_id)
    number = warehouse.number_of(table.name, refresh_id)
    stamp = f"replace/{uuid.uuid4()}"
    added: list[AddAction | RemoveAction] = [_add(file, refresh_id) for file in write()]
    marks = CommitProperties(
        {"userMetadata": stamp}, app_transactions=[Transaction(application, number)]
    )
    for _ in range(TRIES):
        snapshot = Snapshot(warehouse.path(table.name))
        if (snapshot.transaction_version(application) or 0) >= number:
            break
        there = warehouse.has_refresh(table.name, refresh_id, snapshot.version())
        try:
            # Refused where another commit bears the same number, or took files away, since then.
            snapshot.create_write_transaction(
                added,
                mode="overwrite" if there else "append",
                schema=snapshot.schema(),
                partition_by=list(table.partition_by),
                partition_filters=[("refresh_id", "=", refresh_id)] if there else None,
                commit_properties=marks,
            )
        except CommitFailedError:
            continue
        break
    version = warehouse.stamped(table.name, stamp)
    if version is None:
        raise overtaken(f"table {table.name}, refresh {refresh_id}")
    return version


def _add(file: NewFile, refresh_id: str) -> AddAction:
    return AddAction(
        path=file.path,
        size=file.bytes,
        partition_values={"refresh_id": refresh_id},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": file.rows}),
    )
