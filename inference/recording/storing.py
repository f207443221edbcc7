"""One file of the journal into the tables, once: delta-rs, no Spark."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake import DeltaTable as Snapshot

from inference.recording.journal import JournalFile
from inference.recording.rows import rows_in
from inference.recording.usable import faults, usable
from schemas.pipeline import Pipeline
from schemas.places import within
from schemas.tables import forward_records, forward_rejects


class Stored(NamedTuple):
    """Rows that a file of the journal left in `forward_records` and in `forward_rejects`."""

    written: int
    rejected: int


def store(
    pipeline: Pipeline, warehouse: str, file: JournalFile, payloads: Iterable[bytes]
) -> Stored:
    """Append a file's rows to `forward_records`, those with a fault to `forward_rejects`.

    A file whose rows are there already is left alone, so this may be repeated after any failure.
    Raises DataQualityError for a file that is not what was written, or another release's.
    """
    rows = rows_in(payloads)
    fault = faults(rows, pipeline)
    batch_id = f"{_application(file)}/{file.number}"
    good = usable(rows.filter(pc.is_null(fault)), batch_id)
    bad = _rejects(rows.filter(pc.is_valid(fault)), pc.drop_null(fault), batch_id)
    for table, wanted in ((forward_rejects(), bad), (forward_records(), good)):
        if wanted.num_rows:
            _append_once(within(warehouse, table.name), wanted, file)
    return Stored(good.num_rows, bad.num_rows)


def _application(file: JournalFile) -> str:
    return f"recorder/{file.session}"


def _append_once(path: str, rows: pa.Table, file: JournalFile) -> None:
    """Append unless it was done: delta-rs records transactions, but does not look at them."""
    table = Snapshot(path)
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
