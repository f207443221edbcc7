"""Airline timetables give local wall-clock times; the store holds UTC."""

from typing import Any, TypeAlias

import numpy as np
import pandas as pd

Series: TypeAlias = "pd.Series[Any]"

NEW_YORK = "America/New_York"
PUERTO_RICO = "America/Puerto_Rico"

# The four destinations whose zone the package's airports.csv lacks.
MISSING_ZONES = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), PUERTO_RICO)


def minutes_of(clock: Series) -> Series:
    """`1545` as minutes from midnight, 945; `2400` is the end of the day."""
    return clock // 100 * 60 + clock % 100


def at_clock(midnight: Series, minutes: Series) -> Series:
    """Wall-clock times without a zone: a local day's midnight and minutes from it."""
    return midnight + pd.to_timedelta(minutes, unit="min")


def to_utc(local: Series, zone: str) -> Series:
    """Wall-clock times of one zone in UTC.

    The hour that autumn repeats is taken as the first, in daylight saving time; a time in the hour
    that spring leaves out moves to the hour's end. No flight of 2013 is scheduled in either.
    """
    daylight = np.ones(len(local), dtype=bool)
    localized = local.dt.tz_localize(zone, ambiguous=daylight, nonexistent="shift_forward")
    return localized.dt.tz_convert("UTC")


def first_after(departure: Series, minutes: Series, zones: Series) -> Series:
    """UTC time of the first wall clock `minutes` after `departure` (UTC), in each row's zone.

    A timetable gives an arrival as a clock time at the destination without its date: it is the
    first such time after departure, on the next local day where the clock has passed midnight.
    """
    parts = []
    for zone, group in departure.groupby(zones, sort=False):
        local = group.dt.tz_convert(zone).dt.tz_localize(None)
        clock = at_clock(local.dt.normalize(), minutes.loc[group.index])
        clock = clock.where(clock > local, clock + pd.Timedelta(days=1))
        parts.append(to_utc(clock, str(zone)))
    return pd.concat(parts).reindex(departure.index)
