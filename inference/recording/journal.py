"""A write-ahead log: what `append` has taken survives the process.

A journal is a folder with one writer at a time. Its files, `SESSION-NUMBER.journal`, are frames of
(length, CRC-32, payload); the newest is open for appending, the others are sealed and wait to be
stored. A session is one opening of the journal, under a name drawn once, so that a file's name is
never used again. A kill can only tear the last frame of the last file, and that frame was never
acknowledged.
"""

import errno
import fcntl
import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from schemas.errors import ConfigurationError, DataQualityError
from schemas.log import log

SUFFIX, DAMAGED = ".journal", ".damaged"
EARLIER_SUFFIX = ".segment"  # of files that an earlier release left

_HEAD = struct.Struct("<II")  # bytes of the payload, their CRC-32


class JournalFile(NamedTuple):
    """What is stored in one piece: the session that wrote it, and its number there, from 1."""

    session: str
    number: int


class Journal:
    """The files of one folder. Raises ConfigurationError while another process writes it."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._fsync = folder, fsync
        self._lock = _locked(folder)
        self._session = uuid.uuid4().hex
        self._number = 0
        self._open: int | None = None
        self.open_bytes = 0
        for path in folder.glob(f"*{EARLIER_SUFFIX}"):
            path.rename(path.with_suffix(SUFFIX))
        for file in self.sealed():  # left by a process that is gone
            try:
                _cut_torn_tail(self._path(file))
            except DataQualityError as error:
                self.set_aside(file, error)

    def append(self, payload: bytes) -> None:
        """Take a payload into the open file. OSError, and nothing taken, on a full disk."""
        if self._open is None:
            self._number += 1
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._open = os.open(self._path(JournalFile(self._session, self._number)), flags, 0o600)
        frame = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        written = os.write(self._open, frame)
        if written != len(frame):
            os.ftruncate(self._open, self.open_bytes)
            raise OSError(errno.ENOSPC, "no space left for the journal", str(self.folder))
        if self._fsync:
            os.fsync(self._open)
        self.open_bytes += len(frame)

    def seal(self) -> None:
        """Let the open file be stored; the next append opens another."""
        if self._open is not None:
            os.close(self._open)
            self._open, self.open_bytes = None, 0

    def sealed(self) -> list[JournalFile]:
        """The files that wait, those of one session oldest first."""
        names = sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}"))
        files = [JournalFile(name[:32], int(name[33:])) for name in names]
        return [file for file in files if file != self.open_file]

    @property
    def open_file(self) -> JournalFile | None:
        """The file that the next payload goes to, if it has been begun."""
        return None if self._open is None else JournalFile(self._session, self._number)

    def payloads(self, file: JournalFile) -> Iterator[bytes]:
        """What a file holds. DataQualityError where it was altered."""
        return (payload for payload, _ in _frames(self._path(file)))

    def size(self) -> int:
        """Bytes that wait, of the open file too."""
        return sum(self.bytes_of(file) for file in self.sealed()) + self.open_bytes

    def bytes_of(self, file: JournalFile) -> int:
        """Bytes of a file."""
        return self._path(file).stat().st_size

    def remove(self, file: JournalFile) -> None:
        """Forget a file, which has been stored."""
        self._path(file).unlink()

    def set_aside(self, file: JournalFile, error: DataQualityError) -> None:
        """Keep an altered file under another name, so that it holds up no other."""
        path = self._path(file)
        path.rename(path.with_suffix(DAMAGED))
        log.error("%s Kept as %s.", error, path.with_suffix(DAMAGED).name)

    def close(self) -> None:
        """Seal, and let another process have the folder."""
        self.seal()
        os.close(self._lock)

    def _path(self, file: JournalFile) -> Path:
        return self.folder / f"{file.session}-{file.number:08d}{SUFFIX}"


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


def _frames(path: Path) -> Iterator[tuple[bytes, int]]:
    """Whole frames, each with the offset after it; ends before a torn one at the very end."""
    content = path.read_bytes()
    at = 0
    while at + _HEAD.size <= len(content):
        length, crc = _HEAD.unpack_from(content, at)
        end = at + _HEAD.size + length
        if end > len(content):
            return
        payload = content[at + _HEAD.size : end]
        if zlib.crc32(payload) != crc:
            raise DataQualityError(
                f"{path}: the frame at byte {at} is not what was written (CRC-32). The disk or"
                " another program has altered it. Remedy: restore the file, and its old name."
            )
        yield payload, end
        at = end


def _cut_torn_tail(path: Path) -> None:
    """Cut off a frame that a kill left unfinished; an empty file goes."""
    whole = max((end for _, end in _frames(path)), default=0)
    if whole == 0:
        path.unlink()
    elif whole < path.stat().st_size:
        os.truncate(path, whole)
