"""The DAGs' settings: which pipelines, where their warehouses are, and what Spark is sent."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.dag_facts import DAGS


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The DAGs' settings, which need no Airflow, reading an empty folder of pipelines."""
    monkeypatch.syspath_prepend(str(DAGS))
    monkeypatch.setenv("TENFORWARD_PIPELINES", str(tmp_path))
    return importlib.import_module("tenforward_dags.settings")


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"TENFORWARD_RUN_ON": "slurm"}, "use one of bash, kubernetes, ssh"),
        ({"TENFORWARD_RUN_ON": "kubernetes"}, "TENFORWARD_POD_TEMPLATE is not set"),
    ],
)
def test_a_place_that_is_not_known_or_described_is_refused(
    settings: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], complaint: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=complaint):
        settings.deployments()


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "no pipeline file"),
        ({"a.toml": "name ="}, "a.toml: Invalid value"),
        ({"a.toml": "title = 'a'"}, "a.toml: name = None"),
        ({"a.toml": "name = 'a; rm -rf /'"}, "is not a pipeline's name"),
        (
            {"a.toml": "name = 'a'\n[schedule]\ncron = '@hourly'"},
            "schedule.cron = '@hourly' is not",
        ),
        ({"a.toml": "name = 'a'\n[schedule]\nend = 'never'"}, "schedule.end = 'never'"),
        ({"a.toml": "name = 'a'", "b.toml": "name = 'a'"}, "b.toml: name = 'a' is also that of a"),
    ],
)
def test_a_pipeline_file_without_a_usable_name_is_refused(
    settings: Any, tmp_path: Path, files: dict[str, str], complaint: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        settings.deployments()


@pytest.mark.parametrize(
    ("warehouse", "place"),
    [("", "/p/warehouse"), ("w", "/p/w"), ("/w/{pipeline}", "/w/a"), ("s3://b/w", "s3://b/w")],
)
def test_a_warehouse_is_absolute_or_a_uri(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warehouse: str, place: str
) -> None:
    (tmp_path / "a.toml").write_text("name = 'a'")
    monkeypatch.setenv("TENFORWARD_ROOT", "/p")
    monkeypatch.setenv("TENFORWARD_WAREHOUSE", warehouse)
    assert [found.warehouse for found in settings.deployments()] == [place]


def test_spark_is_sent_the_package_the_environment_and_the_properties(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.toml").write_text("name = 'a'")
    monkeypatch.setenv("TENFORWARD_ROOT", "/p")
    monkeypatch.setenv("TENFORWARD_PY_FILES", "dist/tenforward.zip")
    monkeypatch.setenv("TENFORWARD_ARCHIVES", "s3://jars/env.tar.gz#env")
    (found,) = settings.deployments()
    assert found.py_files == "/p/dist/tenforward.zip"
    assert found.archives == "s3://jars/env.tar.gz#env"
    assert found.spark_properties is None
