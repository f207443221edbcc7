"""SIGTERM ends a command as Ctrl-C does: soon, whole, and with the exit code that a shell gives."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # 128 + SIGINT
TERMINATED = 143  # 128 + SIGTERM
GRACE_S = 20.0  # after which a command that has not ended is ended

_children: list[Callable[[], None]] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Whatever deals with Ctrl-C deals with it."""


class Ending:
    """Whether a command was asked to end."""

    to_end = False


def end_with_command(child: Callable[[], None]) -> None:
    """Have `child` called where the running command ends by a signal: a process of its own that
    it must not leave behind."""
    _children.append(child)


def was_interrupted(error: BaseException | None) -> bool:
    """Whether an error is a Ctrl-C or SIGTERM, or was raised while one was dealt with: PySpark, on
    its way out of an interrupted wait, asks for the result, and raises that the job was cancelled
    instead."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


@contextmanager
def terminable() -> Iterator[Ending]:
    """SIGTERM is raised as `Terminated` meanwhile; outside the main thread nothing changes.

    Threads that do not end, such as days of a backfill side by side, get `GRACE_S` seconds.
    """
    asked = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    _children.clear()
    last = threading.Timer(GRACE_S, os._exit, [TERMINATED])
    last.daemon = True

    def handler(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough, and the group sends two
        asked.to_end = True
        last.start()
        interrupt = signal.getsignal(signal.SIGINT)  # Spark's cancels the jobs that run
        try:
            if callable(interrupt):
                interrupt(signal.SIGINT, frame)
        except KeyboardInterrupt as error:
            raise Terminated from error
        raise Terminated

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield asked
    finally:
        last.cancel()
        signal.signal(signal.SIGTERM, before)


def end_children() -> None:
    """End what the command has started and would leave behind."""
    while _children:
        _children.pop()()
