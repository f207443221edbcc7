"""The Feast repository of docs/feast and the pipeline file beside it say the same."""

import ast
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake

from reference.plain_tables import create
from schemas.conformance import differences
from schemas.pipeline import Pipeline, load_pipeline
from schemas.sections.section import parse_duration
from schemas.tables import all_tables
from spark_jobs.features.point_in_time import with_features
from spark_jobs.storage.warehouse import Warehouse

FOLDER = Path(__file__).parents[1] / "docs" / "feast"
TYPES = {"Float32": "float32", "Int64": "int64", "String": "string"}
NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def trips() -> Pipeline:
    return load_pipeline(FOLDER / "trips.toml")


def calls(kind: str) -> dict[str, dict[str, ast.expr]]:
    """`name = Kind(key=value, ...)` of the Feast file: keys and values, by name."""
    found = {}
    for line in ast.parse((FOLDER / "definitions.py").read_text()).body:
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call):
            target, call = line.targets[0], line.value
            assert isinstance(target, ast.Name)
            if ast.unparse(call.func) == kind:
                found[target.id] = {str(word.arg): word.value for word in call.keywords}
    return found


def feast_views() -> dict[str, dict[str, Any]]:
    """Each Feast view in the words of a pipeline file."""
    keys = {name: ast.literal_eval(words["join_keys"]) for name, words in calls("Entity").items()}
    sources, views = calls("FileSource"), {}
    for words in calls("FeatureView").values():
        source = sources[ast.unparse(words["source"])]
        ttl = ast.parse(f"dict({ast.unparse(words['ttl']).removeprefix('timedelta(')}", mode="eval")
        assert isinstance(words["entities"], ast.List)
        assert isinstance(words["schema"], ast.List)
        assert isinstance(ttl.body, ast.Call)
        fields = [
            {str(word.arg): ast.unparse(word.value) for word in field.keywords}
            for field in words["schema"].elts
            if isinstance(field, ast.Call)
        ]
        views[ast.literal_eval(words["name"])] = {
            "description": ast.literal_eval(words["description"]),
            "entity": [key for one in words["entities"].elts for key in keys[ast.unparse(one)]],
            "timestamp_field": ast.literal_eval(source["timestamp_field"]),
            "created_timestamp_column": ast.literal_eval(source["created_timestamp_column"]),
            "ttl": timedelta(**{str(k.arg): ast.literal_eval(k.value) for k in ttl.body.keywords}),
            "columns": {ast.literal_eval(f["name"]): TYPES[f["dtype"]] for f in fields},
        }
    return views


def test_every_source_is_mapped_one_to_one(trips):
    ours = {
        view.name: {
            "description": view.description,
            "entity": view.entity,
            "timestamp_field": view.timestamp_field,
            "created_timestamp_column": view.created_timestamp_column,
            "ttl": parse_duration(view.ttl or ""),
            "columns": {name: spec.type for name, spec in view.columns.items()},
        }
        for view in trips.feature_views
    }
    assert ours == feast_views()
    assert len(ours) == 2


def test_its_tables_are_what_the_definition_says(trips, tmp_path):
    for name, table in all_tables(trips).items():
        create(tmp_path, table)
        found = differences(table, Snapshot(str(tmp_path / name)))
        assert [str(one) for one in found if one.severity == "error"] == []


def test_rows_that_feast_wrote_are_joined_as_of_the_event_time(spark, trips, tmp_path):
    """Feast's columns as they are: the table has the columns of the view's source."""
    for table in all_tables(trips).values():
        create(tmp_path, table)
    hours = {-2: 0.2, -1: 0.1, 1: 0.9}
    stats = {
        "driver_id": ["d"] * 3,
        "event_timestamp": [NOON + timedelta(hours=hour) for hour in hours],
        "created": [NOON + timedelta(hours=hour) for hour in hours],
        "conv_rate": list(hours.values()),
        "acc_rate": [0.5] * 3,
        "avg_daily_trips": [7] * 3,
    }
    warehouse = Warehouse(str(tmp_path), trips)
    name = "features/driver_hourly_stats"
    rows = pa.table(stats).cast(warehouse.tables[name].arrow_schema)
    write_deltalake(str(tmp_path / name), rows, mode="append")
    asked = {
        "instance_id": "i", "event_time": NOON, "event_date": NOON.date(),
        "driver_id": "d", "zone_id": None, "city": "Oslo",
    }  # fmt: skip
    schema = warehouse.tables["instances"].arrow_schema
    instances = pa.Table.from_pylist([asked], schema=schema)
    (row,) = with_features(warehouse, spark.createDataFrame(instances)).collect()
    assert row["conv_rate"] == pytest.approx(0.1)
    assert (row["avg_daily_trips"], row["requests_5m"], row["weather"]) == (7.0, 0.0, 0)
