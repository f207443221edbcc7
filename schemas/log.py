"""The one logger: plain lines on a terminal, JSON lines that say what they are about elsewhere."""

import json
import logging
import re
import shutil
import sys
from contextlib import nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

log = logging.getLogger("tenforward")


_about: ContextVar[dict[str, Any]] = ContextVar("about", default={})  # noqa: B039, never changed


def about(**fields: Any) -> None:
    """What the log lines from here on are about, in place of what was said before.

    Each JSON line carries the fields, such as pipeline, ds, refresh_id and table_version, so that a
    collector of logs finds the lines of a day or of a refresh. Fields that are None are left out.
    """
    _about.set({name: value for name, value in fields.items() if value is not None})


# The address of a tracking server may hold a password, and errors of clients repeat the address.
_USER = re.compile(r"(?<=://)[^/\s@\"'?#]*@")


def without_passwords(text: str) -> str:
    """A text whose URIs name no user and no password."""
    return _USER.sub("", text)


_CLEAR = "\r\x1b[K"  # the terminal's line, from its beginning
_drawn = False  # whether a line that will be redrawn stands there


class _PlainLines(logging.Formatter):
    """For people; a line that is redrawn makes way."""

    def format(self, record: logging.LogRecord) -> str:
        global _drawn
        clear, _drawn = _CLEAR if _drawn else "", False
        return clear + without_passwords(super().format(record))


def on_terminal() -> bool:
    """Whether the log goes to a terminal."""
    return any(isinstance(one.formatter, _PlainLines) for one in _own_handlers())


def redraw(text: str) -> None:
    """Show a text on the terminal's last line, in place of the one shown so before; none for ""."""
    global _drawn
    for handler in _own_handlers():
        with handler.lock or nullcontext():  # or a line of the log would come in between
            if text or _drawn:
                width = shutil.get_terminal_size().columns - 1
                handler.stream.write(_CLEAR + without_passwords(text)[:width])
                handler.flush()
            _drawn = bool(text)


def _own_handlers() -> "list[logging.StreamHandler[TextIO]]":
    mine = [one for one in log.handlers if one.name == log.name]
    return [one for one in mine if isinstance(one, logging.StreamHandler)]


class _JsonLines(logging.Formatter):
    """One JSON object a line, for whatever collects logs."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
            **_about.get(),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return without_passwords(json.dumps(entry, default=str))


def configure_logging() -> None:
    """Plain lines on a terminal, JSON lines elsewhere; safe to call more than once."""
    for old in _own_handlers():
        log.removeHandler(old)  # sys.stderr may have been replaced meanwhile
    handler = logging.StreamHandler(sys.stderr)
    handler.name = log.name
    plain = _PlainLines("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    handler.setFormatter(plain if sys.stderr.isatty() else _JsonLines())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
