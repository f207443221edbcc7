"""One process at a time, by a lock file: freed by the system when its holder dies."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import ConfigurationError, ConflictError


@contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock; ConflictError if another process has it and `wait` is false.

    ConfigurationError where the file is a link: whoever may write to a shared folder could have a
    file of ours be emptied through it.
    """
    try:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ConfigurationError(
            f"{path}: a link, where a lock file of ours is wanted. Remedy: find out who made it,"
            " and remove it."
        ) from error
    with os.fdopen(opened, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                f"{path}: held by another process, which is training the same model."
                " Remedy: repeat the command when it has ended."
            ) from error
        yield
