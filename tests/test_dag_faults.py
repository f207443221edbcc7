"""One pipeline file that cannot be used is told by name, and leaves the others' DAGs alone."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.dag_facts import DAGS

SOUND = ["maintain_a", "select_a", "train_a"]
# What Airflow makes of the DAG folder, and of a run of a day long past.
LOOK = """
import json, sys
from datetime import UTC, datetime
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.serialization.serialized_objects import DagSerialization

bag = BundleDagBag(dag_folder=sys.argv[1], bundle_path=sys.argv[1], bundle_name="dags-folder")
again = {
    name: DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    for name, dag in bag.dags.items()
}
days = [datetime(year, 3, 4, tzinfo=UTC) for year in (1999, 1850, 2)]
runnable = {
    name: [sum(task.start_date <= day for task in dag.tasks) for day in days]
    for name, dag in again.items()
}
for dag in again.values():
    dag.timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=dag._time_restriction
    )
print(json.dumps([sorted(bag.dags), bag.import_errors, runnable]))
"""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The DAGs' settings, which need no Airflow, reading an empty folder of pipelines."""
    monkeypatch.syspath_prepend(str(DAGS))
    monkeypatch.setenv("TENFORWARD_PIPELINES", str(tmp_path))
    return importlib.import_module("tenforward_dags.settings")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"b.toml": b"name ="}, ["b.toml: Invalid value"]),
        ({"b.toml": b"name = 'caf\xe9'"}, ["b.toml: 'utf-8' codec"]),
        ({"b.toml": b"name = 'B'"}, ["b.toml: name = 'B'"]),
        ({"b.toml": b"name = 'b'\nschedule = 3"}, ["b.toml: schedule = 3"]),
        ({"b.toml": b"name = 'b'\n[schedule]\ncron = 7"}, ["b.toml: schedule.cron = 7"]),
        ({"copy.toml": b"name = 'a'"}, ["copy.toml: name = 'a' is also that of a.toml"]),
        (
            {"x.toml": b"name = 'b'", "y.toml": b"name = 'b'"},
            ["x.toml: name = 'b' is also that of y.toml", "y.toml: name = 'b' is also that of x"],
        ),
        ({"b.toml": b"name =", "c.toml": b"name ="}, ["b.toml: Inv", "c.toml: Inv"]),
    ],
)
def test_the_others_go_on(
    settings: Any, tmp_path: Path, broken: dict[str, bytes], told: list[str]
) -> None:
    for name, text in {"a.toml": b"name = 'a'", **broken}.items():
        (tmp_path / name).write_bytes(text)
    found, faults = settings.sound()
    assert [one.pipeline_file.name for one in found] == ["a.toml"]
    assert len(faults) == len(told)
    for fault, words in zip(faults, told, strict=True):
        assert words in fault
        assert "Remedy: " in fault
    with pytest.raises(ValueError, match="Remedy: "):
        settings.deployments()


def test_a_file_that_cannot_be_read_is_one_of_them(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("name = 'a'")
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.toml").mkdir()
    found, faults = settings.sound()
    assert [one.name for one in found] == ["a"]
    assert len(faults) == 2


@pytest.mark.airflow
def test_airflow_shows_the_broken_ones_by_name_and_runs_tasks_on_any_day(tmp_path: Path) -> None:
    from demo.airflow_home import airflow_home

    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    (pipelines / "a.toml").write_text("name = 'a'\n[schedule]\ndays = 7")
    (pipelines / "broken.toml").write_text("name =")
    (pipelines / "copy.toml").write_text("name = 'a'")
    home = airflow_home(tmp_path / "airflow", TENFORWARD_PIPELINES=str(pipelines))
    line = [sys.executable, "-c", LOOK, str(DAGS)]
    done = subprocess.run(line, env=home, capture_output=True, text=True, check=True)
    dags, errors, runnable = json.loads(done.stdout.splitlines()[-1])
    assert dags == SOUND
    [(file, trace)] = errors.items()
    assert file != "tenforward_pipelines.py"  # Airflow takes away the DAGs of such a file
    assert "broken.toml: " in trace
    assert "copy.toml: name = 'a' is also that of a.toml" in trace
    # Airflow calls a run without a task a success.
    assert runnable == {"maintain_a": [1] * 3, "select_a": [4] * 3, "train_a": [1] * 3}
