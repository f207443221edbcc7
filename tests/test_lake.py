"""A pipeline over tables that somebody else made, in Spark: its sample is that of the same rows in
tables of our own, and no byte of theirs is changed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from schemas.errors import ConfigurationError, ConflictError, DataQualityError
from schemas.foreign_source import ForeignSource
from spark_jobs.check import check_rows
from spark_jobs.create_tables import restore
from spark_jobs.days.planned import plan
from spark_jobs.ingest import ingest
from spark_jobs.maintain import maintain
from spark_jobs.migrate import migrate
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import manifest_of
from tests.helpers.lake import PLACES, bytes_of, lake, mapped
from tests.helpers.small_warehouse import (
    DAYS,
    append,
    filled,
    instances,
    labels,
    records,
    shelves,
)

pytestmark = pytest.mark.usefixtures("spark")
LAST = DAYS[-1]


def sampled(warehouse: Warehouse, refresh_id: str, name: str = "sampled") -> list[dict[str, Any]]:
    """The rows of a refresh in order, without its name, which is of its configuration."""
    rows = warehouse.read(name).where(f"refresh_id = '{refresh_id}'").orderBy("position")
    return [row.asDict() for row in rows.drop("refresh_id").collect()]


def with_records(folder: Path, pipeline) -> Warehouse:
    """A warehouse of tables of our own, empty but for records."""
    warehouse = Warehouse(str(folder / "own"), pipeline)
    for name in warehouse.own_tables:
        append(warehouse, name, records(instances()) if name == "forward_records" else [])
    return warehouse


@pytest.fixture(scope="module")
def plain(spark, tmp_path_factory) -> tuple[Warehouse, dict[str, Any]]:
    """The rows in tables of our own, and their refresh."""
    warehouse = filled(tmp_path_factory.mktemp("plain"))
    return warehouse, select_day(warehouse, LAST)


def test_law_1_the_sample_of_tables_elsewhere_is_that_of_our_own(plain, tmp_path):
    own, ours = plain
    pipeline = mapped(lake(tmp_path / "lake"))
    before = bytes_of(tmp_path / "lake")
    warehouse = with_records(tmp_path, pipeline)
    (planned,) = plan(warehouse, LAST, LAST)
    theirs = select_day(warehouse, LAST)
    assert theirs["sample_digest"] == ours["sample_digest"]
    for name in ("sampled", "holdout"):
        rows = sampled(warehouse, theirs["refresh_id"], name)
        assert rows == sampled(own, ours["refresh_id"], name)
    assert (planned["candidates"], theirs["coverage"]) == (theirs["candidates"], ours["coverage"])
    again = select_day(warehouse, LAST, rebuild=True)
    assert again["sample_digest"] == ours["sample_digest"]
    manifest = manifest_of(warehouse, theirs["refresh_id"])
    assert manifest.inputs.versions["instances"] == 0
    assert manifest.decided.elsewhere["labels"]["place"] == str(tmp_path / "lake" / "outcomes")
    maintain(warehouse)
    migrate(warehouse)
    restore(warehouse)
    with pytest.raises(ConfigurationError, match="is somebody else's and only read"):
        ingest(Warehouse(warehouse.root, pipeline.model_copy(update={"source": "digits"})))
    assert bytes_of(tmp_path / "lake") == before
    assert not any((Path(warehouse.root) / name).exists() for name in PLACES)


@pytest.mark.slow
@pytest.mark.nightly
def test_parquet_with_nulls_that_has_changed_cannot_be_rebuilt_from(plain, tmp_path):
    asked, told = instances(), labels(instances())
    asked += [asked[0] | {"instance_id": None}, asked[0] | {"event_time": None}]
    asked[-1]["instance_id"] = "without a time"
    told += [told[0] | {"instance_id": None}, told[0] | {"known_at": None}]
    shelf = [*shelves(), shelves()[0] | {"shop": None}, shelves()[0] | {"created": None}]
    lake(tmp_path / "lake", "parquet", instances=asked, labels=told, shelves=shelf)
    lenient = {"window_days": 3, "budget": 0.5, "policy": "grad-norm", "max_reject_share": 0.5}
    pipeline = mapped(tmp_path / "lake", "parquet", selection=lenient)
    warehouse = with_records(tmp_path, pipeline)
    theirs = select_day(warehouse, LAST)
    assert theirs["sample_digest"] == plain[1]["sample_digest"]
    manifest = manifest_of(warehouse, theirs["refresh_id"])
    assert manifest.decided.elsewhere["instances"]["id"] is None
    assert manifest.inputs.versions["instances"] > 1 << 30
    with pytest.raises(DataQualityError) as refused:
        check_rows(pipeline, warehouse.root)
    found = refused.value.details["findings"]
    nulls = [one["table"] for one in found if one.get("kind") == "null-key"]
    assert nulls == ["instances", "labels", "features/shelves"]
    (tmp_path / "lake" / "outcomes" / "part-1.parquet").unlink()
    with pytest.raises(ConfigurationError, match="outcomes: its files are not those that refresh"):
        select_day(warehouse, LAST, rebuild=True)


# How labels may say when they became known, and of which day they are.
KNOWN = {
    "commits, days of the instances": {"known_at": None, "known_at_commit": True},
    "so long after, moments of the instances": {"known_at": None, "known_after": "3h"},
    "so long after, moments of their own": {
        "known_at": None,
        "known_after": "3h",
        "event_time": "at",
    },
    "days as text": {"event_date": "dt"},
    "days of their own moments": {"event_time": "at"},
}


def made_by_spark(spark, folder: Path, form: str) -> None:
    """Labels of three instances and of nobody, in two commits, in folders of text."""
    rows = [
        (0, "2026-02-01 23:30:00", "2026-02-02 01:00:00", 1.0),
        (1, "2026-02-02 00:30:00", "2026-02-02 02:00:00", 0.0),
        (2, "2026-02-03 00:30:00", "2026-02-04 02:00:00", None),
        (9, "2026-02-03 00:30:00", "2026-02-05 02:00:00", 1.0),
    ]
    names = "request int, at timestamp_ntz, arrived timestamp, was_sold double"
    for part in (rows[:2], rows[2:]):
        made = spark.createDataFrame(
            [(n, *(datetime.fromisoformat(at) for at in (a, k)), y) for n, a, k, y in part], names
        ).withColumn("dt", F.date_format("at", "yyyy-MM-dd"))
        writer = made.write.format(form).mode("append").partitionBy("dt")
        writer.save(str(folder / "outcomes"))
    asked = spark.createDataFrame(
        [(f"{n}", datetime.fromisoformat(at)) for n, at, *_ in rows[:3]],
        "`Request-Id` string, asked_at timestamp",
    ).selectExpr("*", "'north' AS store", "1f AS price_eur")
    asked.coalesce(1).write.format(form).save(str(folder / "requests"))


@pytest.mark.parametrize("form", ["delta", "parquet"])
def test_law_6_both_readers_see_the_same_rows(spark, tmp_path, form):
    made_by_spark(spark, tmp_path, form)
    for what, says in KNOWN.items():
        if form == "delta" or "known_at_commit" not in says:
            require_same_rows(tmp_path, form, what, says, 4)
    if form == "delta":  # one of a file's two rows goes: a vector says so, and the file stays
        place = f"delta.`{tmp_path}/outcomes`"
        files = set((tmp_path / "outcomes").rglob("*.parquet"))
        spark.sql(f"ALTER TABLE {place} SET TBLPROPERTIES (delta.enableDeletionVectors = true)")
        spark.sql(f"DELETE FROM {place} WHERE request = 9")
        assert set((tmp_path / "outcomes").rglob("*.parquet")) == files
        for what, says in KNOWN.items():
            require_same_rows(tmp_path, form, what, says, 3)


def test_a_vector_is_of_one_file_where_folders_have_files_of_one_name(spark, tmp_path):
    """A lake of Parquet that became Delta: Spark gives the file of each folder the same name."""
    place, moment = tmp_path / "outcomes", datetime.fromisoformat("2026-02-01 12:00:00")
    parts = [(0, 1.0, "a"), (1, 0.0, "a"), (2, 1.0, "b")]
    rows = [(number, moment, moment, y, part) for number, y, part in parts]
    names = "request int, at timestamp_ntz, arrived timestamp, was_sold double, dt string"
    made = spark.createDataFrame(rows, names).coalesce(1)
    made.write.partitionBy("dt").parquet(str(place))
    assert len({one.name for one in place.rglob("*.parquet")}) == 1
    spark.sql(f"CONVERT TO DELTA parquet.`{place}` PARTITIONED BY (dt string)")
    name = f"delta.`{place}`"
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES (delta.enableDeletionVectors = true)")
    spark.sql(f"DELETE FROM {name} WHERE request = 0")
    pipeline = mapped(tmp_path, "delta", labels={"event_time": "at"})
    source = Warehouse(str(tmp_path / "own"), pipeline).foreign("labels")
    assert isinstance(source, ForeignSource)
    found = pa.concat_tables(source.rows(["instance_id"]))["instance_id"].to_pylist()
    assert sorted(found) == ["1", "2"]


def require_same_rows(folder: Path, form: str, what: str, says: dict[str, Any], rows: int) -> None:
    """Labels in Arrow, in Spark, and as they are counted by date."""
    own = Warehouse(str(folder / "own"), mapped(folder, form, labels=says))
    columns = ["instance_id", "event_date", "known_at", "sold"]
    source = own.foreign("labels")
    assert isinstance(source, ForeignSource)
    source.require()
    arrow = pa.concat_tables(source.rows(columns)).to_pylist()
    in_spark = [row.asDict() for row in own.read("labels").collect()]
    for row in in_spark:  # Spark hands out the driver's time, without saying so
        row["known_at"] = row["known_at"] and row["known_at"].replace(tzinfo=UTC)
    assert sorted(in_spark, key=str) == sorted(arrow, key=str), what
    assert len(arrow) == rows
    counted = own.rows_by_date("labels")
    dated = own.read("labels").where("event_date IS NOT NULL").groupBy("event_date").count()
    assert counted == {row["event_date"]: row["count"] for row in dated.collect()}, what


@pytest.mark.slow
def test_a_table_of_the_catalog_is_asked_for_and_checked_again(spark, plain, tmp_path):
    lake(tmp_path / "lake")
    names = {"requests": "lake_requests", "outcomes": "lake_outcomes"}
    try:
        for folder, table in names.items():
            place = tmp_path / "lake" / folder
            spark.sql(f"CREATE TABLE {table} USING delta LOCATION '{place}'")
        spark.sql("CREATE VIEW lake_view AS SELECT * FROM lake_outcomes")
        of = {
            "instances": {"path": None, "table": "spark_catalog.default.lake_requests"},
            "labels": {"path": None, "table": "default.lake_outcomes"},
        }
        pipeline = mapped(tmp_path / "lake", **of)
        warehouse = Warehouse(str(tmp_path / "own"), pipeline)
        with pytest.raises(ConfigurationError, match="has not been asked of Spark's catalog yet"):
            warehouse.version("instances")
        assert warehouse.spark is not None  # as `init` does
        warehouse = with_records(tmp_path, pipeline)
        assert warehouse.path("labels") == str(tmp_path / "lake" / "outcomes")
        assert select_day(warehouse, LAST)["sample_digest"] == plain[1]["sample_digest"]

        lake(tmp_path / "other")
        spark.sql("DROP TABLE lake_requests")
        place = tmp_path / "other" / "requests"
        spark.sql(f"CREATE TABLE lake_requests USING delta LOCATION '{place}'")
        with pytest.raises(ConflictError, match=r"other/requests .delta. now, and had it at"):
            _ = Warehouse(warehouse.root, pipeline).spark
        with pytest.raises(ConfigurationError, match="read another table"):
            select_day(Warehouse(warehouse.root, pipeline), LAST, rebuild=True)

        view = mapped(tmp_path / "lake", labels={"path": None, "table": "default.lake_view"})
        with pytest.raises(ConfigurationError, match=r"labels.table = .*: a view, which has no"):
            _ = Warehouse(str(tmp_path / "new"), view).spark
    finally:
        spark.sql("DROP VIEW IF EXISTS lake_view")
        for table in names.values():
            spark.sql(f"DROP TABLE IF EXISTS {table}")
