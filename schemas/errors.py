"""Errors that reach a user, each with the exit code of the command line.

Exit codes: 0 done or already done, 2 usage or configuration, 3 no data, 4 refused for data
quality, 5 a conflict that a retry may ride out, 1 the rest.
"""

from typing import Any


class TenforwardError(Exception):
    """A failure with a message for the user; the message names the field, value and remedy.

    details: what else the JSON result says of it, for a program that reads it.
    """

    exit_code = 1

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class ConfigurationError(TenforwardError):
    """The command line, the pipeline file or the warehouse is not what the job needs."""

    exit_code = 2


class NoDataError(TenforwardError):
    """The input exists but holds nothing for what was asked."""

    exit_code = 3


class DataQualityError(TenforwardError):
    """The data are there and must not be used; nothing was written from them."""

    exit_code = 4


class ConflictError(TenforwardError):
    """Another writer won; the same command may succeed when repeated."""

    exit_code = 5
