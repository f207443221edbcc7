"""`dags/` imports Airflow and the standard library only: what it must copy is held equal here."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from schemas.sections import records, schedule, section
from schemas.sections.schedule import Schedule
from tests.helpers.dag_facts import DAGS


@pytest.fixture(scope="module")
def settings() -> ModuleType:
    file = DAGS / "tenforward_dags" / "settings.py"
    spec = importlib.util.spec_from_file_location("dag_settings", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_law_6_a_pipelines_name_and_a_time_of_day_are_what_the_pipeline_file_takes(settings):
    assert settings._NAME == section._IDENTIFIER  # compiled patterns: text and flags
    assert settings._DAILY == schedule._DAILY


@pytest.mark.parametrize(
    "given",
    [
        *({}, {"days": 3}, {"new_records": 9}, {"drift": 0.1}),
        *({"max_loss": 0.5}, {"max_calibration_gap": 0.1}, {"one_session": True}),
    ],
)
def test_law_6_a_schedule_means_the_same_to_the_dag(settings, given: dict[str, Any]):
    copy, own = settings._schedule(Path("p.toml"), given), Schedule(**given)
    assert copy == {name: getattr(own, name) for name in copy}
    assert set(copy) == {"cron", "end", "conditional", "one_session"}


LOG = {"path": "log", "instance_id": "id", "event_time": "at", "model_version": {"value": "1"}}
LOG |= {"prediction": {"column": "p", "kind": "logit"}}


def test_law_6_records_come_from_where_the_pipeline_file_says(settings):
    assert get_args(records.Source) == settings.SOURCES
    for given in (LOG, {"source": "online"}, LOG | {"source": "score"}):
        own = records.RecordsSource.model_validate(given)
        assert settings._source(Path("p.toml"), given) == own.brought_by
    with pytest.raises(ValueError, match=r"records\.source = 'kafka'.*score, online, import"):
        settings._source(Path("p.toml"), {"source": "kafka"})
