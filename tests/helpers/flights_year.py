"""The year of flights, read and built once a process."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pandas as pd

from spark_jobs.sources import flights

Frames = Mapping[str, pd.DataFrame]


@cache
def files() -> flights.Files:
    return flights.read_files(flights.data_dir())


@cache
def year() -> Frames:
    return flights.build(files())


def february() -> flights.Files:
    """A slice that builds quickly: the flights of February."""
    return replace(files(), flights=files().flights[files().flights["month"] == 2])
