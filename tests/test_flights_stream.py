"""The flights stream: what was known when, in whose time, and each row appended once."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from schemas.columns import Table
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs import sources
from spark_jobs.ingest import ALREADY_DONE, ingest, main, source_tables, to_arrow, trim
from spark_jobs.sources import flights
from spark_jobs.sources.clocks import NEW_YORK, first_after, minutes_of, to_utc
from spark_jobs.sources.lateness import COMPUTE_TIME, snapshots
from spark_jobs.storage.warehouse import Warehouse

AFTER_DEPARTURE = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]
Frames = Mapping[str, pd.DataFrame]


@pytest.fixture(scope="module")
def files() -> flights.Files:
    return flights.read_files(flights.data_dir())


@pytest.fixture(scope="module")
def year(files: flights.Files) -> Frames:
    return flights.build(files)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline("pipelines/flights.toml")


@pytest.fixture(scope="module")
def february(files: flights.Files) -> flights.Files:
    """A slice that builds quickly: the flights of February."""
    return replace(files, flights=files.flights[files.flights["month"] == 2])


# --- Time zones ---------------------------------------------------------------------------------


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


# --- Ingest -------------------------------------------------------------------------------------


def test_the_source_fits_the_pipelines_tables(year: Frames, pipeline: Pipeline) -> None:
    tables = Warehouse("nowhere", pipeline).tables
    frames = trim(year, pipeline, date(2013, 2, 1), date(2013, 2, 2))
    assert sorted(frames["instances"]["event_date"].dt.day.unique()) == [1, 2]
    for name, rows in frames.items():
        assert to_arrow(frames, tables[name]).num_rows == len(rows) > 0
    weather = frames["features/weather"]
    assert weather["observed_at"].min() == pd.Timestamp("2013-01-31 19:00", tz="UTC")  # ttl 6h
    assert weather["published_at"].max() == pd.Timestamp("2013-02-02 23:00", tz="UTC")


def test_a_source_that_does_not_fit_is_refused(year: Frames, pipeline: Pipeline) -> None:
    table = Warehouse("nowhere", pipeline).tables["features/planes"]
    planes = year["features/planes"]
    with pytest.raises(ConfigurationError, match="column seats: the source does not have it"):
        to_arrow({table.name: planes.drop(columns="seats")}, table)
    with pytest.raises(DataQualityError, match=r"table features/planes.*tailnum"):
        to_arrow({table.name: planes.assign(tailnum=np.nan)}, table)
    with pytest.raises(ConfigurationError, match="has no table 'features/planes'"):
        trim({k: v for k, v in year.items() if k != table.name}, pipeline, None, None)


class Store(Warehouse):
    """A warehouse of nothing but what a source fills: the other tables cost the test its time."""

    @property
    def tables(self) -> dict[str, Table]:
        return {name: super(Store, self).tables[name] for name in source_tables(self.pipeline)}


def test_ingest_appends_each_row_exactly_once(
    spark: SparkSession,
    year: Frames,
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sources.SOURCES, "nycflights13", lambda: dict(year))
    weather_only = [view for view in pipeline.feature_views if view.name == "weather"]
    store = pipeline.model_copy(update={"feature_views": weather_only})
    warehouse = Store(str(tmp_path), store)
    one, two, three = (date(2013, 2, day) for day in (1, 2, 3))

    planned = ingest(warehouse, one, two, dry_run=True)
    assert planned["status"] == "planned"
    assert not warehouse.exists("instances")

    first = ingest(warehouse, one, two)
    assert first["rows"] == planned["rows"]
    versions = {name: warehouse.version(name) for name in warehouse.tables}

    repeated = ingest(warehouse, one, two)
    assert repeated["status"] == ALREADY_DONE
    assert set(repeated["rows"].values()) == {ALREADY_DONE}
    assert {name: warehouse.version(name) for name in warehouse.tables} == versions

    ingest(warehouse, two, three)  # one day of it is there already
    wanted = trim(year, warehouse.pipeline, one, three)
    assert warehouse.read("instances").count() == len(wanted["instances"])
    assert warehouse.read("labels").count() == len(wanted["labels"])
    assert warehouse.read("features/weather").count() == len(wanted["features/weather"])


def test_dates_without_flights_are_refused(
    year: Frames, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sources.SOURCES, "nycflights13", lambda: dict(year))
    warehouse = Warehouse(str(tmp_path), pipeline)
    with pytest.raises(NoDataError, match="stay within 2013-01-01 to 2014-01-01"):
        ingest(warehouse, date(2012, 1, 1), date(2012, 1, 2))
    with pytest.raises(ConfigurationError, match="--start 2013-01-02 is after --end 2013-01-01"):
        ingest(warehouse, date(2013, 1, 2), date(2013, 1, 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [("", "source is missing"), ('source = "nowhere"', "source = 'nowhere': no such source")],
)
def test_a_pipeline_without_a_known_source_exits_with_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    text = Path("pipelines/flights.toml").read_text(encoding="utf-8").splitlines()
    kept = [line if each.startswith("source") else each for each in text]
    file = tmp_path / "mine.toml"
    file.write_text("\n".join(kept), encoding="utf-8")
    assert main(["--pipeline", str(file), "--warehouse", str(tmp_path / "w")]) == 2
    out = capfd.readouterr().out
    assert message in out
    assert "Remedy" in out
