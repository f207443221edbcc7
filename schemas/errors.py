"""Errors that reach a user, each with the exit code of the command line.

Exit codes: 0 done or already done, 2 usage or configuration, 3 no data, 4 refused for data
quality, 5 a conflict that a retry may ride out, 1 the rest; 130 and 143 interrupted.
"""

import json
from typing import Any

# An error that is raised in another process, a Spark worker or a query, arrives as text; behind
# this word stands what it was. `schemas.faults` reads it.
MARK = "tenforward-error "


class TenforwardError(Exception):
    """A failure with a message for the user; the message names the field, value and remedy.

    details: what else the JSON result says of it, for a program that reads it.
    """

    exit_code = 1

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details
        # The last line of every traceback, and so of what a Spark worker reports of it.
        told = {"exit_code": self.exit_code, "message": message, "details": details}
        self.add_note(MARK + json.dumps(told, default=str))


class ConfigurationError(TenforwardError):
    """The command line, the pipeline file or the warehouse is not what the job needs."""

    exit_code = 2


class NoDataError(TenforwardError):
    """The input exists but holds nothing for what was asked."""

    exit_code = 3


class EmptyDrawError(NoDataError):
    """A refresh would have no row: no candidate in its window yet, or an empty draw."""


class DataQualityError(TenforwardError):
    """The data are there and must not be used; nothing was written from them."""

    exit_code = 4


class ConflictError(TenforwardError):
    """Another writer won; the same command may succeed when repeated."""

    exit_code = 5


KINDS: dict[int, type[TenforwardError]] = {
    kind.exit_code: kind
    for kind in (TenforwardError, ConfigurationError, NoDataError, DataQualityError, ConflictError)
}
