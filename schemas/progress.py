"""Long steps say what they are doing: a line on standard error, at least every ten seconds.

    with step(f"select {ds}"), step("reading", total=9000) as read:
        read.add(1000)                    # -> select 2013-02-01: reading, 1,000 of 9,000 rows, 20 s

Steps lie in each other. Whoever runs a command does so within `told`, whose one thread looks now
and then at what every thread is in; of what ends before, nothing is said. Outside of it a step
costs microseconds. Other systems take part by `join`: they are told what a thread begins, and asked
for counts where a step has none of its own.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.log import log, on_terminal, redraw

EVERY_S = 10.0  # between lines of a log, and before anything is said at all
REDRAWN_S = 1.0  # between changes of the line on a terminal


@dataclass
class Underway:
    """What a thread is doing, and how far it is."""

    words: str
    total: int | None = None
    unit: str = "rows"
    done: int = 0
    own_bar: bool = False  # shows on a terminal by itself how far it is
    began: float = field(default_factory=time.monotonic)
    context: Context = field(default_factory=copy_context)  # what log lines are about

    def add(self, count: int = 1) -> None:
        """So many more are done; of several threads at once a few may get lost."""
        self.done += count

    def __str__(self) -> str:
        """In words."""
        if self.total is not None:
            return f"{self.words}, {self.done:,} of {self.total:,} {self.unit}"
        return f"{self.words}, {self.done:,} {self.unit}" if self.done else self.words


class Beside(NamedTuple):
    """A system that works for this process: `begun` is told in which step the calling thread is
    (None: in none), `counts` says how far the work is, where there is some."""

    begun: Callable[[str | None], None]
    counts: Callable[[], str | None]


_steps: dict[int, list[Underway]] = {}  # of each thread, the outermost first
_joined: list[Beside] = []


def join(begun: Callable[[str | None], None], counts: Callable[[], str | None]) -> None:
    """Let another system take part, in place of one that did before."""
    _joined[:] = [Beside(begun, counts)]


@contextmanager
def step(
    words: str, total: int | None = None, unit: str = "rows", *, own_bar: bool = False
) -> Iterator[Underway]:
    """Say meanwhile what this thread is doing, within what it is doing already.

    total: how many of `unit` there are to do, where that is known.
    """
    own, thread = Underway(words, total, unit, own_bar=own_bar), threading.get_ident()
    stack = _steps.setdefault(thread, [])
    stack.append(own)
    _tell_joined(stack)
    try:
        yield own
    finally:
        stack.remove(own)
        _tell_joined(stack)
        if not stack:
            _steps.pop(thread, None)


def _tell_joined(stack: list[Underway]) -> None:
    words = ": ".join(one.words for one in stack) or None
    for other in _joined:
        with suppress(Exception):  # it may have ended; a name is not worth a failure
            other.begun(words)


@contextmanager
def told(command: str, every_s: float = EVERY_S) -> Iterator[None]:
    """Say on standard error what the threads are in, every so many seconds, until it ends.

    command: what is said of a thread that runs it and is in no step. On a terminal one line that
    changes, elsewhere lines of the log.
    """
    ended = threading.Event()
    terminal = on_terminal()
    watcher = threading.Thread(
        target=_watch, args=(ended, every_s, terminal), name="progress", daemon=True
    )
    with step(command):
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join(REDRAWN_S)  # it may be waiting for an answer that never comes
            if terminal:
                redraw("")


def _watch(ended: threading.Event, every_s: float, terminal: bool) -> None:
    """Until `ended`, a line now and then of what has been going on for longer."""
    if ended.wait(every_s):
        return
    while True:
        for line, own in _lines(terminal):
            text = f"{line}, {time.monotonic() - own.began:.0f} s"
            if ended.is_set():
                return
            if terminal:
                redraw(text)
            else:
                own.context.copy().run(log.info, "%s", text)
        if ended.wait(min(REDRAWN_S, every_s) if terminal else every_s):
            return


def _lines(terminal: bool) -> list[tuple[str, Underway]]:
    """What each thread is in, in words; of several threads on a terminal the first, and how many.
    The command itself is left out where a step says more."""
    stacks = [list(stack) for stack in list(_steps.values()) if stack]
    busy = [stack[1:] or stack for stack in stacks[:1]] + stacks[1:]
    if len(busy) > 1 and len(stacks[0]) == 1:
        busy = busy[1:]  # the command waits for its threads
    shown = [stack for stack in busy if not (terminal and any(one.own_bar for one in stack))]
    lines = [(_line(stack), stack[-1]) for stack in shown]
    if terminal and len(lines) > 1:
        more = f" (and {len(lines) - 1} more)"
        return [(lines[0][0] + more, lines[0][1])]
    return lines


def _line(stack: list[Underway]) -> str:
    text = ": ".join(map(str, stack))
    if stack[-1].total is None and not stack[-1].done:
        for other in _joined:
            with suppress(Exception):
                counts = other.counts()
                text += f", {counts}" if counts else ""
    return text
