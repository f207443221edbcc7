"""Lineage: what OpenLineage is told that the tasks of the DAGs read and wrote.

The events themselves are seen where Airflow's provider for OpenLineage is installed, which no extra
of ours asks for.
"""

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from demo.airflow_home import airflow_home, run_dags
from tests.helpers.dag_facts import DAGS, DAY, ROOT

PROVIDER = importlib.util.find_spec("airflow.providers.openlineage")

SELECTED = {
    "status": "done",
    "inputs": [
        {"table": "forward_records", "path": "/lake/flights/forward_records", "version": 7},
        {"table": "labels", "path": "s3://crm/gold/labels", "version": 3},
    ],
    "outputs": [{"table": "sampled", "path": "/lake/flights/sampled", "version": 2}],
}


@pytest.fixture
def lineage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DAGS))
    return importlib.import_module("tenforward_dags.lineage")


def test_a_result_names_the_tables_and_their_versions(lineage: Any) -> None:
    inputs, outputs = lineage.datasets("select", "/lake/flights", SELECTED)
    assert inputs == [
        ("file", "/lake/flights/forward_records", 7),
        ("s3://crm", "gold/labels", 3),
    ]
    assert ("file", "/lake/flights/sampled", 2) in outputs
    assert ("file", "/lake/flights/refreshes", None) in outputs


def test_without_a_result_versions_and_tables_that_may_be_elsewhere_are_left_out(
    lineage: Any,
) -> None:
    inputs, outputs = lineage.datasets("score", "s3a://lake/flights/", {})
    assert inputs == []
    assert outputs == [
        ("s3://lake", "flights/forward_records", None),
        ("s3://lake", "flights/forward_rejects", None),
    ]
    assert lineage.datasets("maintain", "/lake", {"status": "done"}) == ([], [])


def test_what_is_known_of_a_command_are_tables_of_a_warehouse(lineage: Any) -> None:
    from schemas.pipeline import load_pipeline
    from schemas.tables import all_tables

    known = [*lineage.READS.values(), *lineage.WRITES.values()]
    tables = all_tables(load_pipeline(ROOT / "pipelines" / "flights.toml"))
    assert {name for names in known for name in names} <= set(tables)


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.skipif(PROVIDER is None, reason="apache-airflow-providers-openlineage: not installed")
def test_the_events_of_a_day_name_what_its_commands_said(tmp_path: Path) -> None:
    for name in ("spark-submit", "tenforward"):
        stub = tmp_path / "stubs" / name
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(f"#!/bin/sh\necho '{json.dumps(SELECTED)}'\n")
        stub.chmod(0o755)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "flights.toml").write_text("name = 'flights'")
    events = tmp_path / "events"
    made = airflow_home(
        tmp_path / "airflow",
        TENFORWARD_PIPELINES=str(tmp_path / "pipelines"),
        TENFORWARD_WAREHOUSE="/lake/{pipeline}",
        AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps(
            {"type": "file", "log_file_path": str(events), "append": True}
        ),
    )
    environment = made | {"PATH": f"{tmp_path / 'stubs'}:{made['PATH']}"}
    runs = run_dags(environment, [f"select_flights@{DAY}", "train_flights"])
    assert [run["state"] for run in runs] == ["success", "success"]
    told = [json.loads(line) for line in events.read_text().splitlines()]
    for job in ("select_flights.select", "train_flights.train"):
        [end] = [e for e in told if e["job"]["name"] == job and e["eventType"] == "COMPLETE"]
        assert {
            (one["namespace"], one["name"], one["facets"]["version"]["datasetVersion"])
            for side in ("inputs", "outputs")
            for one in end[side]
            if "version" in one["facets"]
        } == {
            ("file", "/lake/flights/forward_records", "7"),
            ("s3://crm", "gold/labels", "3"),
            ("file", "/lake/flights/sampled", "2"),
        }
