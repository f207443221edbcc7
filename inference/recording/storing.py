"""One file of the journal into the tables, once: delta-rs, no Spark."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import DeltaError

from inference.recording.journal import Journal, JournalFile
from inference.recording.rows import rows_in
from inference.recording.spans import Damage, framed
from inference.recording.usable import faults, usable
from schemas.errors import ConfigurationError, DataQualityError
from schemas.log import log
from schemas.ownership import require_owner
from schemas.pipeline import Pipeline
from schemas.places import within
from schemas.tables import forward_records, forward_rejects


class Stored(NamedTuple):
    """What became of a file of the journal: rows in `forward_records` and in `forward_rejects`,
    bytes that were damaged, and what is told of bytes that were set aside."""

    written: int
    rejected: int
    damaged_bytes: int = 0
    told: tuple[str, ...] = ()


def require_own(pipeline: Pipeline, warehouse: str) -> None:
    """Refuse the warehouse of another pipeline, and a process in which delta-rs cannot work:
    ConfigurationError. The warehouse need not be there yet, nor be reached: `store` asks again."""
    try:
        for table in (forward_records(), forward_rejects()):
            path = within(warehouse, table.name)
            if Snapshot.is_deltatable(path):
                require_owner(Snapshot(path), pipeline.name, warehouse)
    except (OSError, DeltaError) as away:  # what the journal is for: the server starts all the same
        log.warning(
            "recorder: warehouse %s cannot be looked at, rows wait in the journal until it can: %s",
            warehouse,
            away,
        )
    except BaseException as panic:  # pyo3's PanicException is no Exception, and has no module
        if type(panic).__name__ == "PanicException" and "Forked process" in str(panic):
            raise ConfigurationError(
                "recorder: this process was forked from one that had used delta-rs, whose threads a"
                " fork does not have. Remedy: open no recorder and no Delta table before the fork"
                " (gunicorn: without preload, or in post_fork alone)."
            ) from None
        raise


def store_file(pipeline: Pipeline, warehouse: str, journal: Journal, file: JournalFile) -> Stored:
    """Store a sealed file, and remove it from the journal; what cannot be stored is set aside.

    May be repeated after any failure. Raises what `store` does, but for DataQualityError, and
    OSError.
    """
    contents = journal.contents(file)
    why = "are not what was written: the disk or another program has altered them"
    told = [
        journal.set_aside(file, damage, why, "restore these bytes from a copy")
        for damage in contents.damages
    ]
    try:
        stored = store(pipeline, warehouse, file, contents.payloads)
    except DataQualityError as refused:
        why, _, remedy = str(refused).partition(" Remedy: ")
        whole = Damage(0, b"".join(map(framed, contents.payloads)))
        stored = Stored(0, 0)
        told.append(journal.set_aside(file, whole, why, remedy.rstrip(".")))
    journal.remove(file)
    damaged = sum(len(damage.content) for damage in contents.damages)
    return stored._replace(damaged_bytes=damaged, told=tuple(told))


def store(
    pipeline: Pipeline, warehouse: str, file: JournalFile, payloads: Sequence[bytes]
) -> Stored:
    """Append a file's rows to `forward_records`, those with a fault to `forward_rejects`.

    A file whose rows are there already is left alone, so this may be repeated after any failure.
    Raises DataQualityError for frames of another release or another pipeline, ConfigurationError
    where the tables are another pipeline's.
    """
    if not payloads:
        return Stored(0, 0)
    rows = rows_in(payloads, pipeline.name)
    fault = faults(rows, pipeline)
    batch_id = f"{_application(file)}/{file.number}"
    good = usable(rows.filter(pc.is_null(fault)), batch_id)
    bad = _rejects(rows.filter(pc.is_valid(fault)), pc.drop_null(fault), batch_id)
    for table, wanted in ((forward_rejects(), bad), (forward_records(), good)):
        if wanted.num_rows:
            snapshot = Snapshot(within(warehouse, table.name))
            require_owner(snapshot, pipeline.name, warehouse)
            _append_once(snapshot, _known_to(snapshot, wanted), file)
    return Stored(good.num_rows, bad.num_rows)


def _application(file: JournalFile) -> str:
    return f"recorder/{file.session}"


def _known_to(table: Snapshot, rows: pa.Table) -> pa.Table:
    """The rows without columns of nulls that a table of an earlier release lacks."""
    there = {field.name for field in table.schema().fields}
    empty = [c for c in rows.column_names if c not in there and rows[c].null_count == len(rows)]
    return rows.drop_columns(empty)


def _append_once(table: Snapshot, rows: pa.Table, file: JournalFile) -> None:
    """Append unless it was done: delta-rs records transactions, but does not look at them."""
    done = table.transaction_version(_application(file))
    if done is None or done < file.number:
        mark = Transaction(_application(file), file.number)
        write_deltalake(
            table, rows, mode="append", commit_properties=CommitProperties(app_transactions=[mark])
        )


def _rejects(rows: pa.Table, reason: Any, batch_id: str) -> pa.Table:
    """Rows in the form of `forward_rejects`, each as it came."""
    came = rows.to_pylist()
    columns = {
        "instance_id": rows["instance_id"],
        "event_date": pc.cast(pc.coalesce(rows["event_time"], rows["recorded_at"]), pa.date32()),
        "batch_id": pa.repeat(batch_id, len(came)),
        "reason": reason,
        "record": pa.array([_json(row) for row in came], pa.string()),
        "rejected_at": pa.array([datetime.now(UTC)] * len(came), pa.timestamp("us", tz="UTC")),
    }
    schema = forward_rejects().arrow_schema
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _json(row: dict[str, Any]) -> str:
    """A row without its nulls, as Spark's `to_json` writes it: NaN and infinities as strings."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        if isinstance(value, float) and not abs(value) < float("inf"):
            return "NaN" if value != value else f"{'-' * (value < 0)}Infinity"
        return value

    present = {name: plain(value) for name, value in row.items() if value is not None}
    return json.dumps(present, default=datetime.isoformat, allow_nan=False)
