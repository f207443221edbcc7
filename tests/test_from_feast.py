"""`tenforward from-feast`: what becomes of a Feast repository, and what is told of the rest.

The registry stands here as `feast registry-dump` prints it. The repository of docs/feast is loaded
by Feast itself where that is installed, which asks for an environment of its own.
"""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import tenforward
from console.feast_toml import pipeline_text
from schemas.pipeline import Pipeline, load_pipeline

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "feast"


def view(name: str, entity: str, features: dict[str, str], **more: Any) -> dict[str, Any]:
    """A feature view over a Parquet file, as the registry has it."""
    source = {
        "type": "BATCH_FILE",
        "name": name,
        "timestampField": "ts",
        "createdTimestampColumn": "seen",
        "fileOptions": {"uri": f"s3://store/{name}.parquet"},
    }
    listed = [{"name": column, "valueType": kind} for column, kind in features.items()]
    spec = {"name": name, "entities": [entity], "features": listed, "ttl": "0s"}
    return {"spec": spec | {"batchSource": source} | more}


REGISTRY: dict[str, Any] = {
    "project": "shop",
    "entities": [
        {"spec": {"name": "driver", "joinKey": "driver_id", "valueType": "STRING"}},
        {"spec": {"name": "order", "joinKey": "Order-ID", "valueType": "INT64"}},
        {"spec": {"name": "__dummy", "joinKey": "__dummy_id"}},
    ],
    "featureViews": [
        view("stats", "driver", {"rate": "FLOAT", "trips": "INT64", "city": "STRING"}, ttl="90s"),
        view(
            "Orders",
            "order",
            {"rate": "DOUBLE", "tags": "STRING_LIST", "raw": "BYTES", "vip": "BOOL"},
            streamSource={"type": "PUSH_SOURCE", "name": "push"},
            batchSource={
                "type": "BATCH_BIGQUERY",
                "name": "orders",
                "timestampField": "ts",
                "fieldMapping": {"VIP": "vip"},
            },
        ),
        view("everywhere", "__dummy", {"rain": "FLOAT"}),
        view("computed", "driver", {"x": "FLOAT"}, featureTransformation={}),
    ],
    "onDemandFeatureViews": [{"spec": {"name": "asked"}}],
    "featureServices": [{"spec": {"name": "ranking"}}],
    "dataSources": [{"name": "stats"}, {"name": "asked_with", "type": "REQUEST_SOURCE"}],
}


def test_the_file_is_a_pipeline_with_the_views_of_the_registry() -> None:
    text, _ = pipeline_text(REGISTRY, "shop", "here")
    pipeline = Pipeline.model_validate(tomllib.loads(text))
    stats, orders = pipeline.feature_views
    assert (stats.entity, stats.ttl) == (["driver_id"], "90s")
    assert (stats.timestamp_field, stats.created_timestamp_column) == ("ts", "seen")
    assert {name: one.type for name, one in stats.columns.items()} == {
        "rate": "float32", "trips": "int64", "city": "string"
    }  # fmt: skip
    assert (orders.name, orders.entity, orders.ttl) == ("orders", ["order_id"], None)
    assert list(orders.columns) == ["rate", "tags", "vip"]
    assert list(pipeline.instances.columns) == ["driver_id", "order_id"]
    inputs = {name: (one.kind, one.source) for name, one in pipeline.features.items()}
    assert inputs == {
        "rate": ("number", "stats.rate"),
        "trips": ("number", "stats.trips"),
        "city": ("category", "stats.city"),
        "orders__rate": ("number", "orders.rate"),
        "vip": ("number", "orders.vip"),
    }
    assert (stats.path, stats.format) == ("s3://store/stats.parquet", "parquet")
    assert (orders.path, orders.format) == (None, None)
    assert "# source: orders (BATCH_BIGQUERY)\n# its column VIP is vip" in text


def test_a_view_in_files_is_read_where_it_is_by_the_names_that_it_has_there() -> None:
    source = {
        "type": "BATCH_FILE",
        "name": "orders",
        "timestampField": "At",
        "fileOptions": {"uri": "file:///lake/orders", "fileFormat": {"deltaFormat": {}}},
        "fieldMapping": {"VIP": "vip", "ORDER": "Order-ID"},
    }
    features = {"vip": "BOOL", "Spent": "FLOAT"}
    listed = [view("orders", "order", features, batchSource=source)]
    text, notes = pipeline_text(REGISTRY | {"featureViews": listed}, "shop", "here")
    (orders,) = Pipeline.model_validate(tomllib.loads(text)).feature_views
    assert (orders.path, orders.format) == ("/lake/orders", None)
    assert orders.names == {"order_id": "ORDER", "at": "At", "created": "At"}
    assert {name: one.column for name, one in orders.columns.items()} == {
        "vip": "VIP",
        "spent": "Spent",
    }
    assert any("once it was known, which is when it held" in note.why for note in notes.changed)


def test_nothing_is_left_out_or_changed_in_silence() -> None:
    _, notes = pipeline_text(REGISTRY, "shop", "here")
    assert {note.what for note in notes.left_out} == {
        "featureViews.Orders.raw",
        "featureViews.Orders.streamSource",
        "featureViews.Orders.batchSource",
        "featureViews.everywhere",
        "featureViews.computed",
        "features.orders.tags",
        "onDemandFeatureViews.asked",
        "featureServices.ranking",
        "dataSources.asked_with",
    }
    told = [f"{note.what}: {note.why}" for note in notes.changed]
    for words in (
        "featureViews.Orders: is called orders here",
        "featureViews.Orders.Order-ID: is called order_id here",
        "keys are text here: Order-ID is INT64 there",
        "the source's column VIP is vip",
        "its source says no created_timestamp_column",
        "features.orders.rate: is the input orders__rate",
    ):
        assert any(words in line for line in told), (words, told)


def test_the_command_writes_the_file_once_and_says_what_it_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Places within the repository: `validate` would look for a table on S3.
    text = json.dumps(REGISTRY).replace("s3://store", "data")
    (tmp_path / "registry.json").write_text(text)
    assert tenforward.main(["from-feast", "registry.json"]) == 0
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert (told["file"], told["faults"], told["yours"]) == ("shop.toml", [], 6)
    assert {"what": "featureViews.Orders.raw", "why": "BYTES has no counterpart"} in (
        told["left_out"]
    )
    assert "BYTES has no counterpart" in err
    assert tenforward.main(["validate", "--pipeline", "shop.toml"]) == 0
    capfd.readouterr()
    assert tenforward.main(["from-feast", "registry.json"]) == 2
    assert "shop.toml: is there already" in json.loads(capfd.readouterr().out)["error"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, r"registry\.json.*No such file.*Remedy"),
        ("[]", "no featureViews"),
        ('{"featureViews": []}', "no featureViews"),
        ("{", "Expecting property name.*Remedy"),
        (json.dumps(REGISTRY | {"project": "Über"}), "--name.*not a name"),
    ],
)
def test_what_is_no_registry_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str | None, complaint: str
) -> None:
    file = tmp_path / "registry.json"
    if content is not None:
        file.write_text(content)
    assert tenforward.main(["from-feast", str(file), "--folder", str(tmp_path)]) == 2
    assert re.search(complaint, json.loads(capfd.readouterr().out)["error"])
    assert not list(tmp_path.glob("*.toml"))


@pytest.mark.skipif(importlib.util.find_spec("feast") is not None, reason="Feast is installed")
def test_a_repository_without_feast_is_refused_with_what_to_install(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert tenforward.main(["from-feast", str(DOCS)]) == 2
    told = json.loads(capfd.readouterr().out)["error"]
    assert "package feast is not installed. Remedy: pip install 'tenforward[feast]'" in told


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("feast") is None, reason="Feast is not installed")
def test_feast_itself_loads_a_repository(tmp_path: Path) -> None:
    """The repository of docs/feast gives the views of the pipeline file beside it; one that cannot
    be loaded is refused with what Feast says."""
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "definitions.py").write_text(
        "print('a word of its own')\n" + (DOCS / "definitions.py").read_text()
    )
    (repo / "feature_store.yaml").write_text("project: trips\nprovider: local\n")
    command = [sys.executable, "-m", "tenforward", "from-feast", str(repo), "--folder"]
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["left_out"] == []
    ours, theirs = (load_pipeline(folder / "trips.toml") for folder in (tmp_path, DOCS))
    places = [view.path for view in ours.feature_views]
    assert places == ["s3://store/features/driver_hourly_stats", "s3://store/features/zone_demand"]
    here = {"path": None, "format": None}
    assert [view.model_copy(update=here) for view in ours.feature_views] == theirs.feature_views
    (repo / "broken.py").write_text("import nothing_of_that_name\n")
    done = subprocess.run(
        [*command, str(tmp_path / "other")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No module named 'nothing_of_that_name'" in json.loads(done.stdout)["error"]
