"""Clocks and time zones: when flights left and arrived, in UTC."""

import pandas as pd
import pytest

from schemas.errors import ConfigurationError
from spark_jobs.sources import flights
from spark_jobs.sources.clocks import NEW_YORK, first_after, minutes_of, to_utc
from tests.helpers import flights_year


@pytest.fixture(scope="module")
def files() -> flights.Files:
    return flights_year.files()


@pytest.fixture(scope="module")
def february() -> flights.Files:
    return flights_year.february()


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2013-03-10 01:30", "2013-03-10 06:30"),  # the last half hour of standard time
        ("2013-03-10 03:30", "2013-03-10 07:30"),  # an hour later by the sun
        ("2013-03-10 02:30", "2013-03-10 07:00"),  # an hour that spring left out
        ("2013-11-03 01:30", "2013-11-03 05:30"),  # an hour that autumn repeated: the first
        ("2013-11-03 02:30", "2013-11-03 07:30"),
    ],
)
def test_new_york_clocks_on_the_days_they_change(local: str, utc: str) -> None:
    assert to_utc(pd.Series([pd.Timestamp(local)]), NEW_YORK)[0] == pd.Timestamp(utc, tz="UTC")


@pytest.mark.parametrize(
    ("departure", "clock", "zone", "hours"),
    [
        ("2013-07-01 12:00", 1100, "America/New_York", 3.0),
        ("2013-07-01 12:00", 1100, "America/Los_Angeles", 6.0),
        ("2013-07-01 14:00", 1454, "Pacific/Honolulu", 10.9),
        ("2013-07-01 12:00", 1000, "America/Phoenix", 5.0),  # no daylight saving there
        ("2013-01-01 12:00", 1200, "America/Puerto_Rico", 4.0),
        ("2013-07-02 03:59", 340, "America/Puerto_Rico", 3 + 41 / 60),  # past midnight
        ("2013-11-03 03:00", 230, "America/New_York", 4.5),  # through the repeated hour
        ("2013-03-10 04:00", 400, "America/New_York", 4.0),  # through the missing one
    ],
)
def test_arrival_is_the_first_such_time_on_the_destinations_clock(
    departure: str, clock: int, zone: str, hours: float
) -> None:
    left = pd.Series([pd.Timestamp(departure, tz="UTC")])
    arrival = first_after(left, minutes_of(pd.Series([clock])), pd.Series([zone]))
    assert (arrival[0] - left[0]).total_seconds() / 3600 == pytest.approx(hours)


def test_departures_agree_with_the_utc_hour_in_the_file(files: flights.Files) -> None:
    schedule = flights.timetable(files.flights, files.airports)
    stated = pd.to_datetime(schedule["time_hour"], utc=True)
    assert (schedule["departure"].dt.floor("h") == stated).all()


def test_every_flight_took_longer_than_it_was_in_the_air(files: flights.Files) -> None:
    """A wrong zone at either end would show as an hour too few, or too many, on the ground."""
    schedule = flights.timetable(files.flights, files.airports)
    arrival = schedule["arrival"] + pd.to_timedelta(schedule["arr_delay"], unit="min")
    departure = schedule["departure"] + pd.to_timedelta(schedule["dep_delay"], unit="min")
    ground = (arrival - departure).dt.total_seconds() / 60 - schedule["air_time"]
    assert ground.min() >= 5
    assert ground.groupby(schedule["dest"]).median().dropna().between(15, 50).all()


def test_an_airport_without_a_time_zone_is_refused(february: flights.Files) -> None:
    airports = february.airports.query("faa != 'LAX'")
    with pytest.raises(ConfigurationError, match="dest = 'LAX': no time zone"):
        flights.timetable(february.flights, airports)
