"""`tenforward import-records`: a log of somebody else's becomes forward records, exactly once."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from schemas.errors import ConfigurationError, ConflictError, NoDataError
from schemas.pipeline import Pipeline, load_pipeline
from schemas.tables import forward_records, forward_rejects
from spark_jobs.import_records import import_records
from spark_jobs.storage.creation import create
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import PIPELINE

DAY = date(2026, 2, 1)
MORNING = datetime(2026, 2, 1, 8, tzinfo=UTC)
NAN = float("nan")

# As a Friday afternoon's log table has it: other names, other types, a time as text.
LOG = pa.schema(
    [
        ("Request ID", pa.int64()),
        ("asked.at", pa.string()),
        ("P(late)", pa.float64()),
        ("model", pa.string()),
        ("airport", pa.string()),
        ("airline", pa.string()),
        ("day", pa.date32()),
        ("colour", pa.string()),
        ("logged_at", pa.timestamp("us", tz="UTC")),
        ("vector", pa.list_(pa.float64())),
    ]
)
SECTION = """
[records]
path = "{path}"
format = "{format}"
instance_id = "Request ID"
event_time = "asked.at"
recorded_at = "logged_at"
model_version = {{ column = "model" }}
prediction = {{ column = "P(late)", kind = "probability" }}
segments = ["airport", "airline"]
sketch = "vector"
date = "day"
"""


def row(number: int, p: float | None = 0.25, **changes: Any) -> dict[str, Any]:
    """One request of the log."""
    asked = (MORNING + timedelta(minutes=number)).isoformat()
    known = {"Request ID": number, "asked.at": asked, "P(late)": p, "model": "v3", "day": DAY}
    return known | {"airport": "JFK", "airline": "AA", "colour": "red"} | changes


GOOD = [row(n, p) for n, p in enumerate([0.25, 0.5, 0.0, 1.0, 0.9])]
BAD = [
    (row(10, 1.5), "not-a-probability"),
    (row(11, NAN), "not-finite"),
    (row(12, None), "no-prediction"),
    (row(13, **{"asked.at": "yesterday"}), "missing"),
    (row(14, model=None), "missing"),
    (row(15, 0.1), "duplicate-differs"),
    (row(15, 0.2), "duplicate-differs"),
    (row(16, float("inf")), "not-finite"),
    (row(17, -0.1), "not-a-probability"),
    (row(18, vector=[0.0] * 17), "wrong-arity"),
    (row(19, vector=[0.0, NAN]), "not-finite"),
    (row(20, logged_at=MORNING), "future-event"),
]


def pipeline_of(folder: Path, form: str = "delta") -> Pipeline:
    path = folder / "p.toml"
    section = SECTION.format(path=folder / "log", format=form)
    path.write_text(Path(PIPELINE).read_text() + section)
    return load_pipeline(path)


def logged(folder: Path, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, schema=LOG)
    write_deltalake(str(folder / "log"), table, mode="append")


@pytest.fixture
def warehouse(spark: SparkSession, tmp_path: Path) -> Warehouse:
    made = Warehouse(str(tmp_path / "warehouse"), pipeline_of(tmp_path))
    for table in (forward_records(), forward_rejects()):
        create(made, table)
    return made


def table_of(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = warehouse.read(name).toArrow().to_pylist()
    return sorted(rows, key=lambda row: str(row["instance_id"]))


def test_law_2_rows_are_mapped_once_and_late_ones_follow(warehouse, tmp_path):
    logged(tmp_path, [*GOOD, GOOD[0], *(bad for bad, _ in BAD)])
    logged(tmp_path, [row(99, day=DAY + timedelta(days=1), **{"asked.at": "2026-02-02T08:00:00Z"})])
    first = import_records(warehouse, DAY, DAY)
    assert (first["status"], first["records"], first["rejected"]) == ("done", 5, len(BAD))
    records = table_of(warehouse, "forward_records")
    assert [r["instance_id"] for r in records] == ["0", "1", "2", "3", "4"]
    assert [r["prediction"] for r in records] == pytest.approx(
        [np.log(p / (1 - p)) for p in (0.25, 0.5, 1e-7, 1 - 1e-7, 0.9)]
    )
    one = records[0]
    assert (one["model_version"], one["segments"], one["event_date"]) == ("v3", ["JFK", "AA"], DAY)
    assert one["event_time"] == one["recorded_at"] == MORNING

    again = import_records(warehouse, DAY, DAY)
    assert (again["status"], again["records"], again["rejected"]) == ("already done", 0, 0)
    logged(tmp_path, [row(5)])
    warehouse.spark.sql(f"OPTIMIZE delta.`{tmp_path / 'log'}`")
    late = import_records(warehouse, DAY, DAY)
    assert (late["status"], late["records"], late["rejected"]) == ("done", 1, 0)
    assert len(table_of(warehouse, "forward_records")) == 6


def test_what_cannot_be_used_is_kept_as_it_came_with_its_reason(warehouse, tmp_path):
    logged(tmp_path, [*GOOD, *(bad for bad, _ in BAD)])
    done = import_records(warehouse, DAY, DAY)
    rejects = table_of(warehouse, "forward_rejects")
    assert sorted(r["reason"] for r in rejects) == sorted(reason for _, reason in BAD)
    assert done["rejects"]["duplicate-differs"] == 2
    as_it_came = {(record := json.loads(r["record"]))["Request ID"]: record for r in rejects}
    assert as_it_came[10]["P(late)"] == 1.5
    assert as_it_came[11]["P(late)"] == "NaN"
    assert as_it_came[13]["asked.at"] == "yesterday"
    assert as_it_came[10]["colour"] == "red"


@pytest.mark.slow
@pytest.mark.nightly
def test_a_row_that_says_something_else_than_before_is_kept_as_a_reject(warehouse, tmp_path):
    """Law 2: neither taken in silence for the one that is there, nor put in its place."""
    logged(tmp_path, GOOD)
    import_records(warehouse, DAY, DAY)
    before = table_of(warehouse, "forward_records")
    log = Snapshot(str(tmp_path / "log"))
    log.update(predicate="`Request ID` = 1", updates={"`P(late)`": "0.125"})
    log.update(predicate="`Request ID` = 2", updates={"airline": "'DL'"})
    changed = import_records(warehouse, DAY, DAY)
    assert (changed["records"], changed["rejects"]) == (0, {"duplicate-differs": 2})
    assert table_of(warehouse, "forward_records") == before
    rejected = [json.loads(one["record"]) for one in table_of(warehouse, "forward_rejects")]
    assert {one["Request ID"]: (one["P(late)"], one["airline"]) for one in rejected} == {
        1: (0.125, "AA"),
        2: (0.0, "DL"),
    }
    assert import_records(warehouse, DAY, DAY)["status"] == "already done"


def test_plain_parquet_does_as_well(warehouse, tmp_path):
    (tmp_path / "log").mkdir()
    pq.write_table(pa.Table.from_pylist(GOOD, schema=LOG), tmp_path / "log" / "a.parquet")
    there = Warehouse(warehouse.root, pipeline_of(tmp_path, "parquet"))
    assert import_records(there, DAY, DAY)["records"] == 5


@pytest.mark.slow
@pytest.mark.nightly
def test_an_import_that_another_one_overtakes_is_refused(warehouse, tmp_path, monkeypatch):
    logged(tmp_path, GOOD)
    took = warehouse.next_number("forward_records", "import")
    import_records(warehouse, DAY, DAY)
    logged(tmp_path, [row(6)])
    monkeypatch.setattr(Warehouse, "next_number", lambda *_: took)
    with pytest.raises(ConflictError, match="Remedy: repeat"):
        import_records(warehouse, DAY, DAY)
    assert len(table_of(warehouse, "forward_records")) == 5


def test_a_log_that_does_not_fit_its_map_is_refused(warehouse, tmp_path):
    with pytest.raises(ConfigurationError, match=r"records\.path = .*not readable as delta"):
        import_records(warehouse, DAY, DAY)
    logged(tmp_path, GOOD)
    with pytest.raises(NoDataError, match="2025-01-01"):
        import_records(warehouse, date(2025, 1, 1), date(2025, 1, 1))
    log = warehouse.pipeline.records.model_copy(update={"sketch": "embedding"})
    other = Warehouse(warehouse.root, warehouse.pipeline.model_copy(update={"records": log}))
    with pytest.raises(ConfigurationError, match=r"records\.sketch = 'embedding'.*P\(late\)"):
        import_records(other, DAY, DAY)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "probability"', 'kind = "logits"', "probability or logit"),
        ('{ column = "model" }', "{ }", "either { column"),
        ('"airport", "airline"', '"airport"', "1 columns for the 2 of instances.segments"),
        ('"P(late)"', '"P`late"', "backtick"),
    ],
)
def test_law_7_a_faulty_map_is_explained(tmp_path, old, new, words):
    text = Path(PIPELINE).read_text() + SECTION.format(path="log", format="delta")
    assert old in text
    (tmp_path / "p.toml").write_text(text.replace(old, new))
    with pytest.raises(ConfigurationError, match="records") as refused:
        load_pipeline(tmp_path / "p.toml")
    assert words in str(refused.value)
