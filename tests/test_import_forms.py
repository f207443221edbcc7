"""Logs as Spark and servers write them: moments without a unit, dates and numbers in payloads."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from reference.plain_tables import record_tables
from schemas.errors import ConfigurationError, NoDataError
from schemas.pipeline import load_pipeline
from spark_jobs.import_records import import_records
from spark_jobs.imported.payload import _numbers
from spark_jobs.storage.warehouse import Warehouse

DAY = date(2026, 2, 1)
EIGHT = datetime(2026, 2, 1, 8, 0, 0, 123456, tzinfo=UTC)
FILE = """
name = "late"
task = "binary"
instances = { columns = { wind = { type = "float32" } } }
labels = { label = "late", columns = { late = { type = "float64" } } }
features = { wind = { kind = "number" } }
"""
LOG = {"format": "parquet", "instance_id": "id", "event_time": "at", "model_version": "1"}


def warehouse_of(folder: Path, **log: str) -> Warehouse:
    keys = LOG | {"path": str(folder / "log")} | log
    version = keys.pop("model_version")
    lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
    lines += [f'model_version = {{ value = "{version}" }}']
    lines += ['prediction = { column = "logit", kind = "logit" }']
    (folder / "late.toml").write_text(FILE + "\n[records]\n" + "\n".join(lines))
    made = record_tables(folder / "warehouse")
    return Warehouse(str(made), load_pipeline(folder / "late.toml"))


def moments(warehouse: Warehouse) -> list[datetime]:
    rows = warehouse.read("forward_records").toArrow()
    return sorted(rows["event_time"].to_pylist())


@pytest.fixture
def int96(spark: SparkSession) -> Any:
    """Spark writes moments in the form that it has long written them in."""
    name = "spark.sql.parquet.outputTimestampType"
    before = spark.conf.get(name)
    spark.conf.set(name, "INT96")
    yield spark
    spark.conf.set(name, before)


def test_a_log_that_spark_wrote_is_read_beside_one_that_others_did(int96, tmp_path) -> None:
    form = "id string, at timestamp, logit double, more struct<seen: timestamp>"
    rows = int96.createDataFrame([("a", EIGHT, 0.5, (EIGHT,))], form)
    rows.coalesce(1).write.parquet(str(tmp_path / "log"))
    [file] = (tmp_path / "log").glob("*.parquet")
    assert pq.ParquetFile(file).schema.column(1).physical_type == "INT96"
    moment = pa.timestamp("us", tz="UTC")
    other = {
        "id": ["b"],
        "at": pa.array([EIGHT], moment),
        "logit": [0.25],
        "more": pa.array([{"seen": EIGHT}], pa.struct([("seen", moment)])),
    }
    pq.write_table(pa.table(other), tmp_path / "log/other.parquet")
    warehouse = warehouse_of(tmp_path)
    assert import_records(warehouse, DAY, DAY)["records"] == 2
    assert moments(warehouse) == [EIGHT, EIGHT]


def test_a_date_in_a_payload_narrows_what_is_read_of_it(spark, tmp_path) -> None:
    (tmp_path / "log").mkdir()
    lines = [
        {"id": "a", "at": EIGHT.isoformat(), "logit": 0.5, "day": "2026-02-01"},
        {"id": "b", "at": "2026-02-05T08:00:00+00:00", "logit": 0.5, "day": "2026-02-05"},
    ]
    (tmp_path / "log/a.json").write_text("\n".join(map(json.dumps, lines)))
    warehouse = warehouse_of(tmp_path, format="json", date="day")
    assert import_records(warehouse, DAY, DAY)["records"] == 1
    assert moments(warehouse) == [EIGHT]


def test_a_date_in_a_payload_that_is_not_the_events_is_a_reject(spark, tmp_path) -> None:
    at = pa.array([EIGHT, EIGHT], pa.timestamp("us", tz="UTC"))
    days = [json.dumps({"day": day}) for day in ("2026-02-01", "2026-02-05")]
    (tmp_path / "log").mkdir()
    rows = pa.table({"id": ["a", "b"], "at": at, "logit": [0.5, 0.5], "payload": days})
    pq.write_table(rows, tmp_path / "log/a.parquet")
    warehouse = warehouse_of(tmp_path, date="payload.day")
    done = import_records(warehouse, DAY, DAY)
    assert (done["records"], done["rejected"]) == (1, 1)


def test_a_moment_without_a_zone_in_a_struct_keeps_its_digits(spark, tmp_path) -> None:
    plain = EIGHT.replace(tzinfo=None)
    inner = pa.array([{"at": plain}], pa.struct([("at", pa.timestamp("us"))]))
    (tmp_path / "log").mkdir()
    pq.write_table(pa.table({"id": ["a"], "meta": inner, "logit": [0.5]}), tmp_path / "log/a")
    warehouse = warehouse_of(tmp_path, event_time="meta.at")
    assert import_records(warehouse, DAY, DAY)["records"] == 1
    assert moments(warehouse) == [EIGHT]


def test_values_of_where_are_asked_of_columns_that_can_have_them(spark, tmp_path) -> None:
    at = pa.array([EIGHT], pa.timestamp("us", tz="UTC"))
    rows = {"id": ["a"], "at": at, "logit": [0.5], "status": [200.0], "kind": ["b"]}
    (tmp_path / "log").mkdir()
    pq.write_table(pa.table(rows), tmp_path / "log/a.parquet")
    section = tmp_path / "late.toml"

    def with_where(text: str) -> Warehouse:
        made = warehouse_of(tmp_path) if not section.exists() else None
        root = made.root if made else str(tmp_path / "warehouse")
        base = section.read_text().partition("\nwhere")[0]
        section.write_text(f"{base}\nwhere = {{ {text} }}\n")
        return Warehouse(root, load_pipeline(section))

    with pytest.raises(ConfigurationError, match=r"records\.where\.status.*DOUBLE"):
        import_records(with_where('status = "200"'), DAY, DAY)
    with pytest.raises(NoDataError, match=r"1 of other values than records\.where has"):
        import_records(with_where('kind = "a"'), DAY, DAY)


def test_a_whole_number_beyond_a_double_is_infinite() -> None:
    huge = 10**400
    assert _numbers([huge, -huge, 1, None]) == [float("inf"), float("-inf"), 1.0, None]
