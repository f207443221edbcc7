"""Payload logs on Spark: the recipes of docs/payload-logs.md, odd rows, a format that changes."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from reference.plain_tables import record_tables
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.import_records import import_records
from spark_jobs.imported.mapped import moment
from spark_jobs.imported.places import places_of
from spark_jobs.selection.tasks import sigmoid
from spark_jobs.storage.warehouse import Warehouse

RECIPES = Path(__file__).resolve().parents[1] / "docs" / "payload-logs"
DAY = date(2026, 2, 1)
EIGHT, NINE = (datetime(2026, 2, 1, hour, tzinfo=UTC) for hour in (8, 9))
FILE = """
name = "late"
task = "binary"

[instances]
columns = { wind = { type = "float32" } }

[labels]
label = "late"
columns = { late = { type = "float64" } }

[features]
wind = { kind = "number" }
"""


def warehouse_of(folder: Path, section: str) -> Warehouse:
    (folder / "late.toml").write_text(FILE + section)
    pipeline: Pipeline = load_pipeline(folder / "late.toml")
    return Warehouse(str(record_tables(folder / "warehouse")), pipeline)


def rows_of(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Snapshot(warehouse.path(name)).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: str(row["instance_id"]))


def brief(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Id, time, model version, probability and propensity of each forward record."""
    return [
        (
            row["instance_id"],
            row["event_time"].astimezone(UTC).replace(microsecond=0),
            row["model_version"],
            round(float(sigmoid(row["prediction"])), 6),
            row["propensity"],
        )
        for row in rows_of(warehouse, "forward_records")
    ]


# --- the recipes ---

WHOLE = {
    "kserve": [
        ("5f1c/0", EIGHT, "late-7", 0.25, None),
        ("5f1c/1", EIGHT, "late-7", 0.5, None),
        ("77aa/0", NINE, "late-8", 0.75, None),
    ],
    "bentoml": [
        ("AA-7", NINE, "late:4", 0.75, None),
        ("UA-1", EIGHT, "late:3", 0.25, None),
        ("UA-2", EIGHT, "late:3", 0.5, None),
    ],
    "mlflow": [
        ("AA-7", NINE, "8", 0.75, None),
        ("UA-1", EIGHT, "7", 0.25, None),
        ("UA-2", EIGHT, "7", 0.5, None),
    ],
    "databricks": [
        ("AA-7", NINE, "8", 0.75, 1.0),
        ("UA-1", EIGHT, "7", 0.25, 0.5),
        ("UA-2", EIGHT, "7", 0.5, 0.5),
    ],
}
# As Databricks documents an inference table.
INFERENCE = pa.schema(
    [
        ("databricks_request_id", pa.string()),
        ("client_request_id", pa.string()),
        ("date", pa.date32()),
        ("timestamp_ms", pa.int64()),
        ("status_code", pa.int32()),
        ("sampling_fraction", pa.float64()),
        ("execution_time_ms", pa.int64()),
        ("request", pa.string()),
        ("response", pa.string()),
        ("request_metadata", pa.map_(pa.string(), pa.string())),
    ]
)


def logged(server: str, folder: Path) -> Path:
    """The server's sample where its log would be."""
    sample, place = RECIPES / f"{server}.jsonl", folder / "log"
    if server != "databricks":
        place.mkdir()
        (place / "part-0.jsonl").write_bytes(sample.read_bytes())
        return place
    rows = [json.loads(line) for line in sample.read_text().splitlines()]
    for row in rows:
        row["date"] = date.fromisoformat(row["date"])
        row["request_metadata"] = [*row["request_metadata"].items()]
    write_deltalake(str(place), pa.Table.from_pylist(rows, INFERENCE), partition_by=["date"])
    return place


@pytest.mark.parametrize("server", list(WHOLE))
def test_the_recipe_of_a_server_imports_its_log_row_for_row(
    server: str, spark: SparkSession, tmp_path: Path
) -> None:
    section = (RECIPES / f"{server}.toml").read_text().splitlines()
    place = [line for line in section if line.startswith("path = ")]
    moved = "\n".join(section).replace(place[0], f'path = "{logged(server, tmp_path)}"')
    warehouse = warehouse_of(tmp_path, moved)
    assert warehouse.pipeline.records_from == "import"
    done = import_records(warehouse, DAY, DAY)
    assert (done["records"], done["rejected"]) == (3, 0)
    assert done.get("left_out", 0) == {"kserve": 1, "databricks": 1}.get(server, 0)
    assert brief(warehouse) == WHOLE[server]


def test_every_recipe_is_on_its_page() -> None:
    page = (RECIPES.parent / "payload-logs.md").read_text()
    assert {file.stem for file in RECIPES.glob("*.toml")} == set(WHOLE)
    assert [name for name in WHOLE if f"payload-logs/{name}.toml" not in page] == []


# --- odd rows ---

NESTED = """
[records]
path = "{path}"
format = "parquet"
instance_id = "request.ids[]"
event_time = "meta.asked"
model_version = {{ column = "meta.model" }}
prediction = {{ column = "response.scores[]", kind = "logit" }}
propensity = "kept"
"""
LOG = pa.schema(
    [
        ("meta", pa.struct([("asked", pa.timestamp("us", "UTC")), ("model", pa.int32())])),
        ("request", pa.struct([("ids", pa.list_(pa.string()))])),
        ("response", pa.binary()),  # as a Kafka topic has it
        ("kept", pa.float32()),
    ]
)


def asked(ids: list[str] | None, response: Any, **changes: Any) -> dict[str, Any]:
    body = response if isinstance(response, bytes | None) else json.dumps(response).encode()
    row = {"meta": {"asked": EIGHT, "model": 7}, "request": {"ids": ids}, "response": body}
    return row | {"kept": 0.5} | changes


def test_what_cannot_be_read_is_kept_counted_and_named(spark: SparkSession, tmp_path: Path) -> None:
    """Half-way through the file the response becomes another one."""
    rows = [
        asked(["a", "b"], {"scores": [0.5, -1.5]}),
        asked(["c", "d"], {"scores": [1, float("nan")]}),  # as Python writes it
        asked(["e"], {"scores": [0.5, 0.25]}),
        asked(["f"], {"scores": [True]}, kept=None),
        asked(["g"], b'{"scores": [0.5'),
        asked(["h"], {"scores": [0.5]}, kept=1.5),
        asked(["i"], {"scores": []}),
        asked(None, None),
        asked(["j", "k"], {"outputs": [{"data": [0.5, 0.25]}]}),
        asked(["l"], {"outputs": [{"data": [0.5]}]}),
        asked(["m"], {"scores": [0.5]}, meta={"asked": None, "model": 7}),
    ]
    (tmp_path / "log").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, LOG), tmp_path / "log" / "a.parquet")
    warehouse = warehouse_of(tmp_path, NESTED.format(path=tmp_path / "log"))
    done = import_records(warehouse, DAY, DAY)
    assert [row["instance_id"] for row in rows_of(warehouse, "forward_records")] == ["a", "b", "c"]
    assert {row["propensity"] for row in rows_of(warehouse, "forward_records")} == {0.5}
    assert done["rejects"] == {
        "missing": 2,  # the one that names nobody, and "m"
        "not-finite": 1,
        "not-a-propensity": 1,
        "unparsed": 1,
        "other-shape": 5,
    }
    no_scores = "no 'scores' in an object that has 'outputs'"
    assert done["why"][0] == {
        "why": f"records.prediction = 'response.scores[]': {no_scores}", "rows": 2
    }  # fmt: skip
    told = [one["why"] for one in done["why"]]
    assert sum(
        "differ in length: request.ids[] has 1, response.scores[] has 2" in one for one in told
    )
    assert sum("the flag true where a number is meant" in one for one in told) == 1
    assert sum("no JSON" in one for one in told) == 1

    rejects = rows_of(warehouse, "forward_rejects")
    assert len(rejects) == done["rejected"] == 10
    by_reason = {row["reason"]: json.loads(row["record"]) for row in rejects}
    own = by_reason["not-finite"]  # of many its own part, with its place
    assert (own["place"], own["request.ids[]"], own["response.scores[]"]) == (1, "d", "nan")
    assert "request" not in own
    assert by_reason["unparsed"]["request"] == {"ids": ["g"]}  # the row as it came
    assert import_records(warehouse, DAY, DAY)["status"] == "already done"


def test_a_column_that_changes_its_type_in_a_later_file_is_named(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "log").mkdir()
    rows = pa.Table.from_pylist([asked(["a"], {"scores": [0.5]})], LOG)
    pq.write_table(rows, tmp_path / "log" / "a.parquet")
    later = pa.table({name: rows[name] for name in LOG.names if name != "request"})
    struct = pa.array([{"ids": "a"}], pa.struct([("ids", pa.string())]))
    pq.write_table(later.append_column("request", struct), tmp_path / "log" / "b.parquet")
    warehouse = warehouse_of(tmp_path, NESTED.format(path=tmp_path / "log"))
    with pytest.raises(ConfigurationError, match=r"column 'request'.*list.*b\.parquet has struct"):
        import_records(warehouse, DAY, DAY)


def test_numbers_count_what_the_file_says_since_1970(spark: SparkSession) -> None:
    seconds = int(EIGHT.timestamp())
    given = [str(seconds * 1000), f"{seconds}000.5", "9" * 32, "9" * 40, "soon", None]
    rows = spark.createDataFrame(pa.table({"at": given}))
    found = rows.select(moment(rows, "at", "ms").alias("at")).toArrow()["at"].to_pylist()
    assert found == [EIGHT, EIGHT.replace(microsecond=500), None, None, None, None]


# --- places that cannot be ones ---

COLUMNS = {
    "id": T.LongType(),
    "at": T.TimestampType(),
    "body": T.StringType(),
    "a.b": T.StringType(),
    "p": T.DoubleType(),
}
SCHEMA = T.StructType([T.StructField(name, kind) for name, kind in COLUMNS.items()])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"instance_id": "id.x"}, "the column 'id' is BIGINT, which holds nothing"),
        ({"instance_id": "other.x"}, "no such column; it has id, at, body, a.b, p"),
        ({"instance_id": "body[.x"}, r"it is no place in one: '\[' at character 5"),
        ({"instance_id": "body.ids[]"}, "records.prediction = 'p': one value, where 'body.ids"),
        ({"where": {"body.x[]": "1"}}, "many values of a row"),
        ({"event_time": "id"}, "the log has BIGINT, wanted is TIMESTAMP"),
    ],
)
def test_law_7_a_place_that_cannot_be_one_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    plain = {"path": "log", "instance_id": "a.b", "event_time": "at", "epoch": None, "where": {}}
    plain |= {"model_version": {"value": "1"}, "prediction": {"column": "p", "kind": "logit"}}
    file = tmp_path / "late.toml"
    file.write_text(FILE)
    base = load_pipeline(file).model_dump()
    sound = Pipeline.model_validate(base | {"records": plain})
    assert sound.log is not None
    assert places_of(SCHEMA, sound.log).columns["instance_id"] == "a.b"  # a column of that name
    faulty = Pipeline.model_validate(base | {"records": plain | changes})
    assert faulty.log is not None
    with pytest.raises(ConfigurationError, match=f"{told}.*Remedy: "):
        places_of(SCHEMA, faulty.log)
