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
        ({"a.toml": "name = 'a'\n[schedule]\none_session = 1"}, "schedule.one_session = 1"),
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


@pytest.mark.parametrize(
    "variable",
    [
        "TENFORWARD_ROOT",
        "TENFORWARD_PIPELINES",
        "TENFORWARD_WAREHOUSE",
        "TENFORWARD_PY_FILES",
        "TENFORWARD_ARCHIVES",
        "TENFORWARD_SPARK_PROPERTIES",
        "TENFORWARD_COMMAND",
        "TENFORWARD_POD_TEMPLATE",
    ],
)
@pytest.mark.parametrize("template", ["{{ 7 * 7 }}", "{% raw %}", "{# gone #}", "{{conn.db}}.sh"])
def test_what_airflow_would_render_is_refused(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, template: str
) -> None:
    (tmp_path / "a.toml").write_text("name = 'a'")
    monkeypatch.setenv(variable, f"/lake/{template}")
    with pytest.raises(ValueError, match=rf"{variable} = .*Remedy: choose a name without"):
        settings.deployments()


def test_a_folder_or_a_file_that_airflow_would_render_is_refused_and_the_others_go_on(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.toml").write_text("name = 'a'")
    (tmp_path / "{{ ds }}.toml").write_text("name = 'b'")
    found, [fault] = settings.sound()
    assert [one.name for one in found] == ["a"]
    assert "{{ ds }}.toml" in fault
    here = tmp_path / "{% x %}" / "dags" / "package" / "settings.py"
    monkeypatch.setattr(settings, "__file__", str(here))
    with pytest.raises(ValueError, match=r"TENFORWARD_ROOT = .*\{% x %\}"):
        settings.sound()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TENFORWARD_WAREHOUSE", "s3://key:planted@bucket/{pipeline}"),
        ("TENFORWARD_MLFLOW_URL", "https://me:planted@mlflow.example"),
        ("TENFORWARD_CARDS_URL", "https://planted@cards.example"),
        ("TENFORWARD_PY_FILES", "s3a://key:planted@bucket/tenforward.zip"),
    ],
)
def test_a_password_in_a_uri_is_refused_and_not_told(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    (tmp_path / "a.toml").write_text("name = 'a'")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{variable}: holds a user") as error:
        settings.deployments()
    assert "planted" not in str(error.value)


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
