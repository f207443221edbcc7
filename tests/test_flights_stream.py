"""The flights stream: its instances, labels and feature views, and what was known when."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spark_jobs.sources import flights
from spark_jobs.sources.lateness import COMPUTE_TIME, snapshots
from tests.helpers import flights_year
from tests.helpers.flights_year import Frames

AFTER_DEPARTURE = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]


@pytest.fixture(scope="module")
def files() -> flights.Files:
    return flights_year.files()


@pytest.fixture(scope="module")
def year() -> Frames:
    return flights_year.year()


@pytest.fixture(scope="module")
def february() -> flights.Files:
    return flights_year.february()


# --- Instances ----------------------------------------------------------------------------------


def test_every_scheduled_flight_is_asked_about_an_hour_before(
    files: flights.Files, year: Frames
) -> None:
    instances = year["instances"]
    assert len(instances) == len(files.flights) == 336_776
    assert instances["instance_id"].is_unique
    first = instances.set_index("instance_id").loc["20130101-UA-1545-EWR"]
    assert first["event_time"] == pd.Timestamp("2013-01-01 09:15", tz="UTC")  # departs 5:15 EST
    assert (first["hour"], first["weekday"], first["minute_of_day"]) == (5, 1, 315)
    dates = instances["event_time"].dt.tz_localize(None).dt.normalize()
    assert (instances["event_date"] == dates).all()
    assert instances["scheduled_minutes"].between(50, 700).all()


def test_law_5_nothing_from_the_future_is_in_an_instance(february: flights.Files) -> None:
    nonsense = dict.fromkeys(AFTER_DEPARTURE, 1234.0)
    changed = replace(february, flights=february.flights.assign(**nonsense))
    pd.testing.assert_frame_equal(
        flights.build(february)["instances"], flights.build(changed)["instances"]
    )


# --- Labels -------------------------------------------------------------------------------------


def test_cancelled_and_diverted_flights_never_get_a_label(
    files: flights.Files, year: Frames
) -> None:
    unlabelled = ~year["instances"]["instance_id"].isin(year["labels"]["instance_id"])
    cancelled = files.flights["dep_time"].isna().sum()
    diverted = (files.flights["dep_time"].notna() & files.flights["arr_delay"].isna()).sum()
    assert (cancelled, diverted, unlabelled.sum()) == (8_255, 1_175, 8_255 + 1_175)
    assert year["labels"]["instance_id"].is_unique


def test_a_label_is_known_at_arrival_and_no_sooner(year: Frames) -> None:
    labels = year["labels"].merge(year["instances"], on="instance_id")
    assert (labels["known_at"] > labels["event_time"] + pd.Timedelta(hours=1)).all()
    first = labels.set_index("instance_id").loc["20130101-UA-1545-EWR"]
    assert first["known_at"] == pd.Timestamp("2013-01-01 14:30", tz="UTC")  # 8:30 in Houston
    assert (labels["late"] == (labels["arrival_delay"] > 15)).all()
    assert labels["late"].mean() == pytest.approx(0.237, abs=0.001)


# --- Feature views ------------------------------------------------------------------------------


def test_weather_is_published_when_its_hour_is_over(year: Frames) -> None:
    weather = year["features/weather"]
    assert len(weather) == 26_115
    assert not weather.duplicated(["origin", "observed_at"]).any()
    assert (weather["published_at"] - weather["observed_at"] == pd.Timedelta(hours=1)).all()
    assert weather["wind_speed"].max() < 50  # the file has one reading of 1,048


def test_of_two_readings_of_an_hour_the_later_line_counts() -> None:
    hour = {"origin": "EWR", "time_hour": "2013-01-01T06:00:00Z"}
    values = dict.fromkeys(["humid", "wind_speed", "precip", "pressure", "visib"], 1.0)
    lines = pd.DataFrame([hour | values | {"temp": 30.0}, hour | values | {"temp": 31.0}])
    assert flights.weather_rows(lines)["temp"].tolist() == [31.0]


def slow_share(outcomes: pd.DataFrame, moment: pd.Timestamp, window: pd.Timedelta) -> float:
    """The definition: late arrivals over arrivals, of those known in (moment - window, moment]."""
    known = zip(outcomes["known_at"], outcomes["late"], strict=True)
    late = [each for known_at, each in known if moment - window < known_at <= moment]
    return sum(late) / len(late) if late else np.nan


def test_lateness_is_the_share_of_late_arrivals_known_by_then(
    february: flights.Files,
) -> None:
    frames = flights.build(february)
    outcomes = frames["labels"].merge(frames["instances"], on="instance_id")
    picks = np.random.default_rng(1)
    for entity, windows in (flights.HOURLY | flights.DAILY).items():
        rows = frames[f"features/{entity}_lateness"]
        for row in rows.sample(12, random_state=picks).to_dict("records"):
            own = outcomes[outcomes[entity] == row[entity]]
            for name, window in windows.items():
                wanted = slow_share(own, row["as_of"], window)
                np.testing.assert_equal(row[name], wanted, f"{entity} {row['as_of']} {name}")
        assert (rows["computed_at"] == rows["as_of"] + COMPUTE_TIME).all()


def test_lateness_at_the_edges_of_the_window() -> None:
    noon = pd.Timestamp("2013-07-01 12:00", tz="UTC")
    hour = pd.Timedelta(hours=1)
    outcomes = pd.DataFrame({"carrier": "UA", "known_at": [noon - hour, noon], "late": [1.0, 0.0]})
    moments = pd.DatetimeIndex([noon - 2 * hour, noon - hour, noon, noon + hour])
    shares = snapshots(outcomes, "carrier", moments, {"share": hour})["share"]
    np.testing.assert_equal(shares.to_numpy(), [np.nan, 1.0, 0.0, np.nan])


def test_law_5_nothing_from_the_future_is_in_a_lateness(february: flights.Files) -> None:
    """Whatever happens to flights that had not landed, earlier snapshots stay as they are."""
    cut = pd.Timestamp("2013-02-14 17:00", tz="UTC")
    schedule = flights.timetable(february.flights, february.airports)
    landed = schedule["arrival"] + pd.to_timedelta(schedule["arr_delay"], unit="min") <= cut
    changed = schedule.copy()
    delay = changed.loc[~landed, "arr_delay"]
    changed.loc[~landed, "arr_delay"] = (delay + 500).where(delay > 0)  # later, or never
    before = flights.build(replace(february, flights=schedule))
    after = flights.build(replace(february, flights=changed))
    for entity in (*flights.HOURLY, *flights.DAILY):
        old, new = (
            rows[rows["as_of"] <= cut].reset_index(drop=True)
            for rows in (frames[f"features/{entity}_lateness"] for frames in (before, after))
        )
        known = old[entity].isin(new[entity])  # a key whose flights all vanished has no rows left
        pd.testing.assert_frame_equal(old[known].reset_index(drop=True), new)
        assert old[~known].drop(columns=[entity, "as_of", "computed_at"]).isna().all(axis=None)
