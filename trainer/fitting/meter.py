"""The meter of a training: backward passes, counted while they are made, whatever becomes of it.

Each step adds its rows to eight bytes that are mapped from a file, so a process that is killed
leaves its count behind. The count is published to the table `backward_passes` when a training
begins, at its checkpoints and when it ends; what a killed one left is published by the next
training of the warehouse. The row is what has been added since the row before, once: the table
knows up to where each training was published.
"""

import fcntl
import json
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import IO
from uuid import uuid4

import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import CommitFailedError

from schemas.errors import ConflictError
from schemas.ledger import Purpose
from schemas.log import log
from schemas.places import state_folder, within
from schemas.tables import backward_passes

FOLDER = "spent"  # of the meters, beside locks and checkpoints
TRIES = 20  # commits of others in a row, each of which makes ours look again
_COUNT = struct.Struct("<q")


@dataclass(frozen=True)
class Account:
    """What the backward passes of a training are written down under."""

    training_id: str
    refresh_id: str
    ds: str
    purpose: Purpose

    @staticmethod
    def new(refresh_id: str, ds: str, purpose: Purpose) -> "Account":
        """That of a training which has not begun."""
        return Account(uuid4().hex, refresh_id, ds, purpose)


class Meter:
    """Counts the backward passes of one training; `metered` opens one."""

    def __init__(self, warehouse: str, account: Account, count: mmap.mmap) -> None:
        self.warehouse, self.account, self._count = warehouse, account, count

    @property
    def total(self) -> int:
        """Backward passes so far."""
        return int(_COUNT.unpack_from(self._count)[0])

    def add(self, rows: int) -> None:
        """Rows that have gone through a step, all ranks together, padding aside."""
        _COUNT.pack_into(self._count, 0, self.total + rows)

    def publish(self) -> None:
        """Bring the table up to date."""
        _publish(self.warehouse, self.account, self.total)


@contextmanager
def metered(warehouse: str, account: Account) -> Iterator[Meter]:
    """A meter, whose count is published when it is opened and when it is closed.

    What earlier trainings have left unpublished is published first.
    """
    folder = state_folder(warehouse) / FOLDER
    folder.mkdir(exist_ok=True)
    publish_left(warehouse)
    file = folder / account.training_id
    with file.open("w+b") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.write(_COUNT.pack(0) + json.dumps(asdict(account)).encode())
        handle.flush()
        with mmap.mmap(handle.fileno(), 0) as count:
            meter = Meter(warehouse, account, count)
            try:
                _append(warehouse, account, 0, None)
                yield meter
            finally:
                meter.publish()
        file.unlink()


def note(warehouse: str, account: Account, rows: int) -> None:
    """Write down backward passes that were made elsewhere: those of twins and studies."""
    _append(warehouse, account, rows, None)


def publish_left(warehouse: str) -> None:
    """Publish what killed trainings have left on this machine."""
    folder = state_folder(warehouse) / FOLDER
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            with file.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _publish_file(warehouse, handle)
                file.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue  # its training goes on, or another process has published it


def _publish_file(warehouse: str, handle: IO[bytes]) -> None:
    content = handle.read()
    if len(content) <= _COUNT.size:  # killed before it had a name: nothing was counted
        return
    (total,), account = _COUNT.unpack_from(content), Account(**json.loads(content[_COUNT.size :]))
    log.info("%s: a training that was killed made %d backward passes", account.refresh_id, total)
    _publish(warehouse, account, total)


def _publish(warehouse: str, account: Account, total: int) -> None:
    """Append what the count has gained since it was published, once."""
    for _ in range(TRIES):
        done = _table(warehouse).transaction_version(_application(account)) or 0
        if total <= done:
            return
        try:
            _append(warehouse, account, total - done, total)
        except CommitFailedError:
            continue
        return
    raise ConflictError(
        f"table {backward_passes().name}: {TRIES} commits of others in a row. Remedy: repeat the"
        " command; what was counted is kept."
    )


def _application(account: Account) -> str:
    return f"training/{account.training_id}"


def _append(warehouse: str, account: Account, rows: int, total: int | None) -> None:
    row = {
        **asdict(account),
        "ds": date.fromisoformat(account.ds),
        "backward_passes": rows,
        "counted_at": datetime.now(UTC),
    }
    marks = None
    if total is not None:
        marks = CommitProperties(app_transactions=[Transaction(_application(account), total)])
    table = pa.Table.from_pylist([row], backward_passes().arrow_schema)
    write_deltalake(_table(warehouse), table, mode="append", commit_properties=marks)


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
