"""An import keeps what it was given, or refuses it: types, files, and single values."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import load_pipeline
from schemas.tables import forward_records, forward_rejects
from spark_jobs.import_records import _read, import_records
from spark_jobs.imported.mapped import judged, mapped
from spark_jobs.imported.places import places_of
from spark_jobs.storage.creation import create
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import PIPELINE

DAY = date(2026, 2, 1)
MORNING = datetime(2026, 2, 1, 8, tzinfo=UTC)
SECTION = """
[records]
path = "{path}"
format = "{format}"
instance_id = "id"
event_time = "at"
recorded_at = "logged"
model_version = {{ column = "model" }}
prediction = {{ column = "p", kind = "{kind}" }}
segments = ["airport", "airline"]
sketch = "vector"
date = "day"
"""
COLUMNS: dict[str, pa.Array] = {
    "id": pa.array(["a", "b"]),
    "at": pa.array([MORNING] * 2, pa.timestamp("us", "UTC")),
    "logged": pa.array([MORNING] * 2, pa.timestamp("us", "UTC")),
    "model": pa.array(["v3"] * 2),
    "p": pa.array([0.25, 0.75]),
    "airport": pa.array(["JFK"] * 2),
    "airline": pa.array(["AA"] * 2),
    "vector": pa.array([[1.0], [2.0]], pa.list_(pa.float32())),
    "day": pa.array([DAY] * 2),
}


@pytest.fixture(scope="module")
def tables(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The two tables that an import writes, made once."""
    made = Warehouse(str(tmp_path_factory.mktemp("tables")), load_pipeline(PIPELINE))
    for table in (forward_records(), forward_rejects()):
        create(made, table)
    return made


@pytest.fixture
def warehouse(tables: Warehouse, tmp_path: Path) -> Warehouse:
    """Empty tables, and a pipeline whose log is `tmp_path`/log, in Parquet."""
    shutil.copytree(tables.root, tmp_path / "warehouse")
    return reading(tmp_path)


def reading(folder: Path, form: str = "parquet", kind: str = "probability") -> Warehouse:
    section = SECTION.format(path=folder / "log", format=form, kind=kind)
    (folder / "p.toml").write_text(Path(PIPELINE).read_text() + section)
    return Warehouse(str(folder / "warehouse"), load_pipeline(folder / "p.toml"))


def logged(folder: Path, name: str = "a.parquet", **changed: Any) -> None:
    """A file of the log; a column that is None is left out."""
    columns = {n: c for n, c in (COLUMNS | changed).items() if c is not None}
    (folder / "log" / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "log" / name)


def imported(warehouse: Warehouse) -> dict[str, Any]:
    return import_records(warehouse, DAY, DAY)


def faults(warehouse: Warehouse, start: date = DAY) -> list[tuple[Any, ...]]:
    """Id, event time, prediction and fault of each row that an import would judge."""
    source = warehouse.pipeline.records
    assert source is not None
    read = judged(mapped(_read(warehouse, source, start, DAY), source, DAY), warehouse.pipeline)
    found = read.select("instance_id", "event_time", "prediction", "fault", "record").toArrow()
    return [tuple(row.values()) for row in found.to_pylist()]


def rows(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = warehouse.read(name).toArrow().to_pylist()
    return sorted(found, key=lambda row: str(row["instance_id"]))


# Types.

MS = [int(MORNING.timestamp() * 1000)] * 2
REFUSED: dict[str, tuple[str, pa.Array, str, str]] = {
    "ids read as doubles": ("id", pa.array([1e15, None]), "DOUBLE", "STRING or a whole number"),
    "float ids": ("id", pa.array([1, 2], pa.float32()), "FLOAT", "STRING or a whole"),
    "bytes as ids": ("id", pa.array([b"a", b"\xff"]), "BINARY", "STRING or a whole number"),
    "ids with decimals": ("id", pa.array([Decimal("1.50")] * 2), "DECIMAL(3,2)", "STRING"),
    "flags as ids": ("id", pa.array([True, False]), "BOOLEAN", "STRING or a whole number"),
    "moments as ids": ("id", COLUMNS["at"], "TIMESTAMP", "STRING or a whole number"),
    "lists as ids": ("id", pa.array([["a"], ["b"]]), "ARRAY<STRING>", "STRING or a whole"),
    "milliseconds": ("at", pa.array(MS), "BIGINT", "timestamp_millis"),
    "seconds": ("at", pa.array([1, 2], pa.int32()), "INT", "timestamp_seconds"),
    "seconds with parts": ("logged", pa.array([1.5, 2.5]), "DOUBLE", "TIMESTAMP"),
    "nanoseconds": ("at", COLUMNS["at"].cast(pa.timestamp("ns", "UTC")), "timestamp[ns", "micro"),
    "nanoseconds recorded": ("logged", COLUMNS["at"].cast(pa.timestamp("ns")), "[ns]", "coerce"),
    "dates as numbers": ("day", pa.array([20260201] * 2), "BIGINT", "DATE, or STRING"),
    "versions as doubles": ("model", pa.array([3.0, 4.0]), "DOUBLE", "STRING"),
    "versions as bytes": ("model", pa.array([b"v3"] * 2), "BINARY", "STRING"),
    "segments as doubles": ("airport", pa.array([1.0, None]), "DOUBLE", "STRING"),
    "flags as probabilities": ("p", pa.array([True, False]), "BOOLEAN", "DOUBLE"),
    "moments as probabilities": ("p", COLUMNS["at"], "TIMESTAMP", "DOUBLE"),
    "bytes as probabilities": ("p", pa.array([b"1"] * 2), "BINARY", "DOUBLE"),
    "lists as probabilities": ("p", pa.array([[0.1], [0.2]]), "ARRAY<DOUBLE>", "DOUBLE"),
    "text as a sketch": ("vector", pa.array(["[1.0]"] * 2), "STRING", "ARRAY of numbers"),
    "a sketch of texts": ("vector", pa.array([["1"]] * 2), "ARRAY<STRING>", "ARRAY of numbers"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_column_of_another_type_is_refused_by_name(warehouse, tmp_path, case) -> None:
    name, column, found, wanted = REFUSED[case]
    logged(tmp_path, **{name: column})
    with pytest.raises(ConfigurationError) as refused:
        imported(warehouse)
    said = str(refused.value)
    assert f"{name!r}: " in said
    assert found in said
    assert wanted in said
    assert said.count("Remedy: ") == 1


def test_logits_are_lists_of_numbers(warehouse, tmp_path) -> None:
    logged(tmp_path)
    source = warehouse.pipeline.records
    assert source is not None
    logits = source.prediction.model_copy(update={"kind": "logits"})
    schema = warehouse.spark.read.parquet(str(tmp_path / "log")).schema
    with pytest.raises(ConfigurationError, match="DOUBLE, wanted is ARRAY of numbers"):
        places_of(schema, source.model_copy(update={"prediction": logits}))


KEPT: dict[str, tuple[dict[str, pa.Array], list[str]]] = {
    "big whole ids": ({"id": pa.array([2**53 + 1, -1])}, ["-1", "9007199254740993"]),
    "unsigned ids": ({"id": pa.array([2**64 - 1, 7], pa.uint64())}, ["18446744073709551615", "7"]),
    "small ids": ({"id": pa.array([1, 2], pa.uint8())}, ["1", "2"]),
    "ids with leading zeros": ({"id": pa.array(["007", "07"])}, ["007", "07"]),
    "ids of a dictionary": ({"id": COLUMNS["id"].dictionary_encode()}, ["a", "b"]),
    "ids of whole decimals": ({"id": pa.array([Decimal(10**20), Decimal(1)])}, ["1", str(10**20)]),
    "moments of milliseconds": ({"at": COLUMNS["at"].cast(pa.timestamp("ms", "UTC"))}, ["a", "b"]),
    "moments without a zone": ({"at": COLUMNS["at"].cast(pa.timestamp("us"))}, ["a", "b"]),
    "texts with a zone": ({"at": pa.array(["2026-02-01T03:00:00-05:00"] * 2)}, ["a", "b"]),
    "texts without a zone": ({"at": pa.array(["2026-02-01 08:00:00"] * 2)}, ["a", "b"]),
    "a date as text": ({"day": pa.array(["2026-02-01", "nonsense"])}, ["a", "b"]),
    "a date in figures": ({"day": pa.array(["20260201"] * 2)}, ["a", "b"]),
    "probabilities of float32": ({"p": pa.array([0.25, 0.75], pa.float32())}, ["a", "b"]),
    "probabilities of decimals": ({"p": pa.array([Decimal("0.25"), Decimal("0.75")])}, ["a", "b"]),
    "a sketch of doubles": ({"vector": pa.array([[1.0], [2.0]])}, ["a", "b"]),
    "no sketch at all": ({"vector": pa.array([None, None], pa.list_(pa.float32()))}, ["a", "b"]),
}


@pytest.mark.parametrize("case", list(KEPT))
def test_what_fits_is_kept_as_it_was_given(warehouse, tmp_path, case) -> None:
    changed, wanted = KEPT[case]
    logged(tmp_path, **changed)
    found = faults(warehouse)
    assert sorted(row[0] for row in found) == sorted(wanted)
    assert {row[1] for row in found} == {MORNING}
    assert sorted(row[2] for row in found) == pytest.approx([-np.log(3), np.log(3)])
    assert {row[3] for row in found} == {None}


def test_a_delta_table_is_held_to_the_same(warehouse, tmp_path) -> None:
    write_deltalake(str(tmp_path / "log"), pa.table(COLUMNS | {"id": pa.array([1.0, 2.0])}))
    with pytest.raises(
        ConfigurationError, match=r"records\.instance_id = 'id': the log has DOUBLE"
    ):
        imported(reading(tmp_path, "delta"))


# Files.


def test_a_partition_of_007_stays_007(warehouse, tmp_path) -> None:
    for name in ("007", "7"):
        logged(
            tmp_path,
            f"id={name}/a.parquet",
            **{n: c[:1] for n, c in COLUMNS.items()} | {"id": None},
        )
    assert sorted(row[0] for row in faults(warehouse)) == ["007", "7"]


def test_partitions_by_day_are_read_as_dates(warehouse, tmp_path) -> None:
    logged(tmp_path, "day=2026-02-01/a.parquet", day=None)
    assert len(faults(warehouse)) == 2


def test_a_column_that_older_files_lack_is_null_there(warehouse, tmp_path) -> None:
    logged(tmp_path, "a.parquet", vector=None)
    logged(tmp_path, "b.parquet", id=pa.array(["c", "d"]))
    assert imported(warehouse)["records"] == 4
    sketches = {row["instance_id"]: row["sketch"] for row in rows(warehouse, "forward_records")}
    assert sketches == {"a": None, "b": None, "c": [1.0], "d": [2.0]}


def test_rows_of_files_that_lack_the_prediction_are_rejects(warehouse, tmp_path) -> None:
    logged(tmp_path, "a.parquet", p=None)
    logged(tmp_path, "b.parquet", id=pa.array(["c", "d"]))
    found = {row[0]: row[3] for row in faults(warehouse)}
    assert found == {"a": "no-prediction", "b": "no-prediction", "c": None, "d": None}


DIFFERENT = {
    "a type": ({"id": pa.array([1, 2])}, r"'id': .*a\.parquet has string, .*b\.parquet has int64"),
    "a width": ({"p": pa.array([0, 1], pa.float32())}, r"'p': .*double, .*float"),
    "no type": ({"p": pa.array([None, None], pa.null())}, r"'p': .*double, .*null"),
    "a zone": ({"at": COLUMNS["at"].cast(pa.timestamp("us"))}, r"'at': .*UTC\], .*timestamp\[us\]"),
    "a column of no use": ({"extra": pa.array(["x", "y"])}, r"'extra': .*int64, .*string"),
    "case": ({"id": None, "ID": COLUMNS["id"]}, r"'ID': .*as 'id', .*as 'ID'"),
}


@pytest.mark.parametrize("case", list(DIFFERENT))
def test_files_of_different_forms_are_refused(warehouse, tmp_path, case) -> None:
    changed, words = DIFFERENT[case]
    logged(tmp_path, "a.parquet", extra=pa.array([1, 2]))
    logged(tmp_path, "b.parquet", **{"extra": pa.array([1, 2]), **changed})
    with pytest.raises(ConfigurationError, match=words + ".*Remedy: "):
        imported(warehouse)


@pytest.mark.parametrize("names", [("id", "id"), ("id", "ID")])
def test_a_column_that_is_there_twice_is_refused(warehouse, tmp_path, names) -> None:
    (tmp_path / "log").mkdir()
    others = {n: c for n, c in COLUMNS.items() if n != "id"}
    twice = pa.table([COLUMNS["id"]] * 2 + list(others.values()), [*names, *others])
    pq.write_table(twice, tmp_path / "log" / "a.parquet")
    with pytest.raises(ConfigurationError, match=r"has it twice.*Remedy: "):
        imported(warehouse)


@pytest.mark.parametrize("content", [b"", b"id,at\n1,2\n", b"PAR1"])
@pytest.mark.parametrize("name", ["b.parquet", "b.csv", "day=2026-02-02/b.parquet.tmp"])
def test_a_file_that_is_no_parquet_is_refused_by_name(warehouse, tmp_path, content, name) -> None:
    logged(tmp_path)
    (tmp_path / "log" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "log" / name).write_bytes(content)
    with pytest.raises(DataQualityError, match=rf"{Path(name).name} is not a whole Parquet file"):
        imported(warehouse)


def test_hidden_and_empty_tables_change_nothing(warehouse, tmp_path) -> None:
    logged(tmp_path)
    logged(tmp_path, "none.parquet", **{n: c[:0] for n, c in COLUMNS.items()})
    for name in ("_SUCCESS", ".a.parquet.crc", "_temporary/0/a.parquet", ".tmp/b.parquet"):
        (tmp_path / "log" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "log" / name).write_bytes(b"not finished")
    assert [row[0] for row in faults(warehouse)] == ["a", "b"]


# Values.


def text(*values: bytes) -> pa.Array:
    """Strings of any bytes, as careless writers leave them."""
    ends = np.cumsum([0, *map(len, values)]).astype(np.int32)
    return pa.StringArray.from_buffers(
        len(values), pa.py_buffer(ends), pa.py_buffer(b"".join(values))
    )


UNUSABLE: dict[str, tuple[str, pa.Array, str]] = {
    "text for a number": ("p", pa.array(["0.25", "o.75"]), "not-finite"),
    "a number with a comma": ("p", pa.array(["0.25", "0,75"]), "not-finite"),
    "text for a moment": ("at", pa.array([MORNING.isoformat(), "yesterday"]), "missing"),
    "a time of day": ("at", pa.array([MORNING.isoformat(), "08:00:00"]), "missing"),
    "a year": ("at", pa.array([MORNING.isoformat(), "2026"]), "missing"),
    "a date in figures": ("at", pa.array([MORNING.isoformat(), "20260201"]), "missing"),
    "seconds in text": ("at", pa.array([MORNING.isoformat(), "1769932800"]), "missing"),
    "text recorded": ("logged", pa.array([MORNING.isoformat(), "just now"]), "unreadable"),
    "the year 20000": ("logged", pa.array([MORNING.isoformat(), "+20000-01-01"]), "unreadable"),
    "an id of bytes": ("id", text(b"a", b"\xff\xfe"), "unreadable"),
    "a segment of bytes": ("airport", text(b"JFK", b"\xc3"), "unreadable"),
    "a version of bytes": ("model", text(b"v3", b"\x80"), "unreadable"),
    "a sketch with a gap": ("vector", pa.array([[1.0], [None]]), "not-finite"),
    "a sketch too long": ("vector", pa.array([[1.0], [0.0] * 17]), "wrong-arity"),
    "another day": ("day", pa.array([DAY, DAY - timedelta(days=3)]), "misdated"),
}


@pytest.mark.parametrize("case", list(UNUSABLE))
def test_one_value_that_cannot_be_read_is_one_reject(warehouse, tmp_path, case) -> None:
    name, column, reason = UNUSABLE[case]
    logged(tmp_path, **{name: column})
    found = faults(warehouse, DAY - timedelta(days=3))
    assert [row[3] for row in found] == [None, reason]
    assert json.loads(found[1][4])["airline"] == "AA"


@pytest.mark.slow
@pytest.mark.nightly
def test_rejects_are_kept_once(warehouse, tmp_path) -> None:
    logged(tmp_path, id=text(b"a", b"\xff\xfe"))
    done = imported(warehouse)
    assert (done["records"], done["rejects"]) == (1, {"unreadable": 1})
    assert imported(warehouse)["status"] == "already done"
    (reject,) = rows(warehouse, "forward_rejects")
    assert reject["reason"] == "unreadable"


@pytest.mark.slow
@pytest.mark.nightly
def test_a_row_that_its_own_date_hides_is_told_once_and_not_lost(warehouse, tmp_path) -> None:
    late = DAY + timedelta(days=5)
    logged(tmp_path, day=pa.array([DAY, late]))
    assert imported(warehouse)["records"] == 1
    assert import_records(warehouse, late, late)["rejects"] == {"misdated": 1}
    assert import_records(warehouse, late, late)["status"] == "already done"


# Late rows.


@pytest.mark.parametrize(
    "later",
    [timedelta(0), pytest.param(timedelta(hours=2), marks=(pytest.mark.slow, pytest.mark.nightly))],
)
def test_a_late_row_that_contradicts_is_a_reject(warehouse, tmp_path, later) -> None:
    logged(tmp_path)
    imported(warehouse)
    moment = pa.array([MORNING + later] * 2, pa.timestamp("us", "UTC"))
    logged(tmp_path, "late.parquet", p=pa.array([0.25, 0.5]), logged=moment)
    done = imported(warehouse)
    # Of one moment both are refused, though the first has been taken; of another the late one is.
    assert done["rejects"] == {"duplicate-differs": 1 if later else 2}
    assert done["records"] == (1 if later else 0)  # of another moment, and the same is said
    again = imported(warehouse)
    assert again["status"] == "already done"
    said = {row["instance_id"]: row["prediction"] for row in rows(warehouse, "forward_records")}
    assert said["b"] == pytest.approx(np.log(3))
