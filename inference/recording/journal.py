"""A write-ahead log: what `append` has taken survives the process.

A journal is a folder with one writer at a time. Its files, `SESSION-NUMBER.journal`, hold frames
(`recording.spans`); the newest is open for appending, the others are sealed and wait to be stored.
A session is one opening of the journal, under a name drawn once, so that a file's name is never
used again. A kill can only tear the last frame of the last file, and that frame was never
acknowledged.
"""

import errno
import fcntl
import os
import re
import uuid
import weakref
from pathlib import Path
from typing import NamedTuple

from inference.recording.spans import Damage, Spans, framed, spans_of
from schemas.errors import ConfigurationError
from schemas.log import log

SUFFIX, DAMAGED = ".journal", ".damaged"
EARLIER_SUFFIX = ".segment"  # of files that an earlier release left

# A file of a session; with more numbers, bytes of one that were damaged and have been mended.
_NAME = re.compile(r"([0-9a-f]{32})-(\d{8})((?:-\d+)*)")


class JournalFile(NamedTuple):
    """What is stored in one piece: the name under which its transactions count, and their number.

    A session's files count upwards from 1. A mended piece counts by itself: its session has long
    gone on.
    """

    name: str
    session: str
    number: int


def named(name: str) -> JournalFile | None:
    """The file of a name without its ending; None for a name that no journal gives."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    if found[3]:
        return JournalFile(name, name, 1)
    return JournalFile(name, found[1], int(found[2]))


class Journal:
    """The files of one folder. Raises ConfigurationError while another process writes it."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._fsync = folder, fsync
        self._lock: int | None = _locked(folder)
        self._session = uuid.uuid4().hex
        self._number = 0
        self._open: int | None = None
        self._told: set[str] = set()  # names of no journal that the log has
        self.open_bytes = 0
        for path in folder.glob(f"*{EARLIER_SUFFIX}"):
            path.rename(path.with_suffix(SUFFIX))
        _journals.add(self)

    def append(self, payload: bytes) -> None:
        """Take a payload into the open file. OSError, and nothing taken, where it cannot be
        written, or with `fsync` not be brought to the disk."""
        frame = framed(payload)
        try:
            if self._open is None:
                self._begin()
            self._write(frame)
        except OSError:
            self._forget()
            raise
        self.open_bytes += len(frame)

    def _begin(self) -> None:
        self._number += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._open = os.open(self._path(self._newest()), flags, 0o600)
        if self._fsync:  # the name of a new file is the folder's to keep
            _fsync_folder(self.folder)

    def _write(self, frame: bytes) -> None:
        assert self._open is not None
        if os.write(self._open, frame) != len(frame):
            raise OSError(errno.ENOSPC, "no space left for the journal", str(self.folder))
        if self._fsync:
            os.fsync(self._open)

    def _forget(self) -> None:
        """Take back what a failed append left. After a failed fsync nobody knows what of the file
        is on the disk: what comes next goes to another."""
        if self._open is None:
            return
        file, empty = self._newest(), self.open_bytes == 0
        try:
            os.ftruncate(self._open, self.open_bytes)
        finally:
            self.seal()
        if empty:
            self.remove(file)

    def seal(self) -> None:
        """Let the open file be stored; the next append opens another."""
        if self._open is not None:
            open_file, self._open, self.open_bytes = self._open, None, 0
            os.close(open_file)

    def sealed(self) -> list[JournalFile]:
        """The files that wait, those of one session oldest first. Other files are left alone."""
        files = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            file = named(path.stem)
            if file is not None and path.is_file():
                files.append(file)
            elif path.name not in self._told:
                self._told.add(path.name)
                log.warning("recorder: %s is no file of a journal, and is left alone", path)
        return [file for file in files if file != self.open_file]

    @property
    def open_file(self) -> JournalFile | None:
        """The file that the next payload goes to, if it has been begun."""
        return None if self._open is None else self._newest()

    def _newest(self) -> JournalFile:
        return JournalFile(f"{self._session}-{self._number:08d}", self._session, self._number)

    def contents(self, file: JournalFile) -> Spans:
        """The payloads of a file, and what of it was damaged."""
        return spans_of(self._path(file).read_bytes())

    def bytes_of(self, file: JournalFile) -> int:
        """Bytes of a file."""
        return self._path(file).stat().st_size

    def remove(self, file: JournalFile) -> None:
        """Forget a file, which has been stored."""
        self._path(file).unlink()

    def set_aside(self, file: JournalFile, damage: Damage, why: str, remedy: str) -> str:
        """Keep bytes of a file that cannot be stored; returns what to say of it.

        The rest of the file goes on. Under the name that the message gives, mended bytes are stored
        once: a name that no transaction bears yet.
        """
        name, (first, content) = f"{file.name}-{damage.first}", damage
        kept, partial = self.folder / f"{name}{DAMAGED}", self.folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.rename(kept)
        told = (
            f"{kept}: {len(content)} bytes, from byte {first} of {file.name}{SUFFIX} on, {why}."
            f" Remedy: {remedy}, name the file {name}{SUFFIX}, and open a recorder on the journal."
        )
        log.error("recorder: %s", told)
        return told

    def close(self) -> None:
        """Seal, and let another process have the folder. Once; then it does nothing."""
        self.seal()
        if self._lock is not None:
            lock, self._lock = self._lock, None
            os.close(lock)

    def _path(self, file: JournalFile) -> Path:
        return self.folder / f"{file.name}{SUFFIX}"


_journals: "weakref.WeakSet[Journal]" = weakref.WeakSet()


def _closed_in_child() -> None:
    """A forked process would hold the folder for as long as it lives, and write into its file."""
    for journal in list(_journals):
        journal.close()


os.register_at_fork(after_in_child=_closed_in_child)


def _locked(folder: Path) -> int:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise ConfigurationError(
            f"journal = {folder}: another process is writing it. Remedy: give each process, each"
            " worker of a server too, a journal folder of its own."
        ) from error
    return lock


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
