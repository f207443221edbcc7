"""The meter of a training: backward passes, counted while they are made, whatever becomes of it.

Each step adds its rows to eight bytes that are mapped from a file, so a process that is killed
leaves its count behind. The count is published to the table `backward_passes` when a training
begins, at its checkpoints and when it ends; what was left unpublished is published by the next
training of the warehouse. The row is what has been added since the row before, once: the table
knows up to where each training was published.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import CommitFailedError, DeltaError

from schemas.counted import COUNT, Account, count_of, counts_folder, files_of_counts
from schemas.errors import ConflictError, TenforwardError
from schemas.log import log
from schemas.places import state_folder, within
from schemas.tables import backward_passes

TRIES = 20  # commits of others in a row, each of which makes ours look again


class Meter:
    """Counts the backward passes of one training; `metered` opens one."""

    def __init__(self, warehouse: str, account: Account, count: mmap.mmap) -> None:
        self.warehouse, self.account, self._count = warehouse, account, count

    @property
    def total(self) -> int:
        """Backward passes so far."""
        return int(COUNT.unpack_from(self._count)[0])

    def add(self, rows: int) -> None:
        """Rows that have gone through a step, all ranks together, padding aside."""
        COUNT.pack_into(self._count, 0, self.total + rows)

    def publish(self) -> bool:
        """Bring the table up to date; whether that was possible.

        A table that is away for a while costs no training: its count is in the file, and is
        published later.
        """
        try:
            _publish(self.warehouse, self.account, self.total)
        except (DeltaError, OSError, TenforwardError) as error:
            log.warning(
                "table %s: %d backward passes of %s are not written down yet, they will be by the"
                " next training on this machine (%s)",
                *(backward_passes().name, self.total, self.account.refresh_id, error),
            )
            return False
        return True


@contextmanager
def metered(warehouse: str, account: Account) -> Iterator[Meter]:
    """A meter, whose count is published when it is opened and when it is closed.

    What earlier trainings have left unpublished is published first. Raises what keeps the table
    from being written: before the first step, and not after it.
    """
    state_folder(warehouse)
    counts_folder(warehouse).mkdir(exist_ok=True)
    publish_left(warehouse)
    file = counts_folder(warehouse) / account.training_id
    beside = file.with_name(f".{file.name}")
    with beside.open("w+b") as handle:
        # Held before it has its name: a file that nobody holds is one that was left.
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.write(account.file())
        handle.flush()
        os.replace(beside, file)
        with mmap.mmap(handle.fileno(), 0) as count:
            meter = Meter(warehouse, account, count)
            try:
                note(warehouse, account, 0)
                yield meter
            finally:
                if meter.publish():
                    file.unlink()


def note(warehouse: str, account: Account, rows: int) -> None:
    """Write down backward passes that were made elsewhere: those of twins and studies."""
    _commit(warehouse, account, rows, None)


def publish_left(warehouse: str) -> None:
    """Publish what killed trainings have left on this machine."""
    for file in files_of_counts(warehouse):
        with suppress(FileNotFoundError):  # another process has published it
            _publish_left(warehouse, file)


def _publish_left(warehouse: str, file: Path) -> None:
    with file.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its training goes on
            return
        left = count_of(handle.read())
        if left is None:
            log.warning("%s: left aside, it is not a count of backward passes", file)
            return
        account, total = left
        if _publish(warehouse, account, total):
            log.info(
                "%s: an earlier training made %d backward passes, the last of which are written"
                " down now",
                *(account.refresh_id, total),
            )
        file.unlink(missing_ok=True)


def _publish(warehouse: str, account: Account, total: int) -> bool:
    """Append what the count has gained since it was published, once; whether it had."""
    return _commit(warehouse, account, 0, total)


def _commit(warehouse: str, account: Account, rows: int, total: int | None) -> bool:
    """Append rows, or what is missing up to a total; whether there was something to append."""
    for _ in range(TRIES):
        try:
            table = _table(warehouse)
            if total is not None:
                rows = total - (table.transaction_version(account.application) or 0)
                if rows <= 0:
                    return False
            _append(table, account, rows, total)
        except CommitFailedError:
            continue
        return True
    raise ConflictError(
        f"table {backward_passes().name}: {TRIES} commits of others in a row. Remedy: repeat the"
        " command; what was counted is kept."
    )


def _append(table: Snapshot, account: Account, rows: int, total: int | None) -> None:
    row = {
        **asdict(account),
        "ds": date.fromisoformat(account.ds),
        "backward_passes": rows,
        "counted_at": datetime.now(UTC),
    }
    marks = None
    if total is not None:
        marks = CommitProperties(app_transactions=[Transaction(account.application, total)])
    added = pa.Table.from_pylist([row], backward_passes().arrow_schema)
    write_deltalake(table, added, mode="append", commit_properties=marks)


def _table(warehouse: str) -> Snapshot:
    """The table; made where an earlier release has made the warehouse."""
    table = backward_passes()
    path = within(warehouse, table.name)
    if not Snapshot.is_deltatable(path):
        properties = dict(table.properties)
        Snapshot.create(
            path, table.arrow_schema, "ignore", description=table.doc, configuration=properties
        )
    return Snapshot(path)
