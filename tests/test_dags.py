"""The DAGs: what they import, how they are built, what they run, and what a failure does.

Airflow lives in a process of its own here, which describes the DAGs (`dag_facts`). Their runs are
in `test_dag_runs.py`.
"""

import ast
import importlib.util
import json
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.dag_facts import DAGS, DAY, ROOT, described_alone

DAG_FILES = sorted(DAGS.rglob("*.py"))

# --- fixtures ---


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from demo.airflow_home import airflow_home

    folder = tmp_path_factory.mktemp("airflow")
    return airflow_home(folder, TENFORWARD_WAREHOUSE="/lake/it's {pipeline}")


@pytest.fixture(scope="module")
def described(environment: dict[str, str]) -> dict[str, Any]:
    return described_alone(environment)


@pytest.fixture(scope="module")
def select(described: dict[str, Any]) -> dict[str, Any]:
    dag: dict[str, Any] = described["dags"]["select_flights"]
    return dag


@pytest.fixture(scope="module")
def train(described: dict[str, Any]) -> dict[str, Any]:
    dag: dict[str, Any] = described["dags"]["train_flights"]
    return dag


# --- (a) Airflow alone ---


def test_dag_files_import_where_airflow_is_alone(described: dict[str, Any]) -> None:
    names = {file.stem for file in (ROOT / "pipelines").glob("*.toml")}
    assert {"select_flights", "train_flights"} <= set(described["dags"])
    assert len(described["dags"]) == 3 * len(names)


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_dag_files_name_only_airflow_and_the_standard_library(file: Path) -> None:
    ours = {entry.stem for entry in DAGS.iterdir()}
    allowed = sys.stdlib_module_names | {"airflow"} | ours
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert {name.split(".")[0] for name in names} <= allowed


def test_dag_folder_shadows_no_module() -> None:
    from importlib.metadata import packages_distributions

    taken = sys.stdlib_module_names | set(packages_distributions())
    assert not {entry.stem for entry in DAGS.iterdir()} & taken


# --- (b) structure ---


def test_select_scores_then_selects_then_announces(described: dict[str, Any]) -> None:
    """Where every day has a refresh."""
    select = described["dags"]["select_mnist"]
    assert select["order"] == ["score", "select", "announce"]
    assert select["downstream"] == {"score": ["select"], "select": ["announce"], "announce": []}


def test_a_weekly_refresh_is_asked_for_once_the_day_is_scored(select: dict[str, Any]) -> None:
    assert select["order"] == ["score", "due", "select", "announce"]
    assert select["tasks"]["announce"]["outlets"] == ["flights_refreshes"]
    assert select["max_active_runs"] == 1
    assert not select["catchup"]


def test_the_run_of_a_day_starts_when_the_day_has_ended(select: dict[str, Any]) -> None:
    assert select["next"] == ["2013-02-14 00:00", "2013-02-15 00:00"]


def test_maintenance_runs_on_sundays(described: dict[str, Any]) -> None:
    maintain = described["dags"]["maintain_flights"]
    assert maintain["next"] == ["2013-02-17 04:00", "2013-02-17 04:00"]
    task = maintain["tasks"]["maintain"]
    assert task["application"] == str(ROOT / "spark_jobs" / "maintain.py")
    pipeline = str(ROOT / "pipelines" / "flights.toml")
    warehouse = "/lake/it's flights"
    assert task["arguments"] == ["--pipeline", pipeline, "--warehouse", warehouse]


def test_train_starts_on_the_asset_in_the_gpu_pool(train: dict[str, Any]) -> None:
    assert train["asset"] == "flights_refreshes"
    assert train["order"] == ["train"]
    assert train["tasks"]["train"]["pool"] == "gpu"
    assert train["max_active_runs"] == 1
    assert json.loads((DAGS / "pools.json").read_text())["gpu"]["slots"] == 1


def test_pipelines_of_one_airflow_share_nothing_but_pools(described: dict[str, Any]) -> None:
    """No id, asset or name of an application twice, and no task told of another's warehouse."""
    dags = described["dags"]
    assert len({dag["asset"] for dag in dags.values() if dag["asset"]}) == len(dags) / 3
    for dag_id, dag in dags.items():
        name = dag_id.partition("_")[2]
        for task in dag["tasks"].values():
            words = (
                task["arguments"] or shlex.split(task["command"] or "") or [f"/lake/it's {name}"]
            )
            assert f"/lake/it's {name}" in words
            assert [asset.removesuffix("_refreshes") for asset in task["outlets"]] in ([], [name])
            assert task["pool"] in ("default_pool", "gpu")


def test_every_task_has_retries_a_limit_and_words(described: dict[str, Any]) -> None:
    for dag in described["dags"].values():
        assert "tenforward" in dag["tags"]
        assert dag["doc"].strip()
        assert "{" not in dag["doc"].replace("{pipeline}", "")
        for task in dag["tasks"].values():
            assert task["retries"] >= 1
            assert task["backoff"] > 1
            assert task["policy"] == "FinalExitCodes"
            assert task["timeout"] > 0
            assert task["told on failure"] == ["tell_remedy"]


def test_a_training_has_links_to_its_run_and_the_report_card(train: dict[str, Any]) -> None:
    assert train["tasks"]["train"]["links"] == ["MLflow run", "Report card"]


def test_no_day_after_the_end_of_the_data_is_scheduled(select: dict[str, Any]) -> None:
    assert select["end"].startswith("2013-12-31")


@pytest.fixture
def elsewhere(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment with one pipeline whose days are not always due, and one that is monitored."""
    text = "name = 'a_b'\n[schedule]\ncron = '30 3 * * *'\ndrift = 0.1\n"
    (tmp_path / "a.toml").write_text(text)
    (tmp_path / "c.toml").write_text("name = 'c'\n[monitor]\nmax_drift = 0.2\n")
    for source in ("online", "import"):
        text = f"name = '{source}'\n[records]\nsource = '{source}'\n[monitor]\n"
        (tmp_path / f"{source}.toml").write_text(text)
    return environment | {"TENFORWARD_PIPELINES": str(tmp_path)}


def test_conditions_and_the_monitor_have_tasks_where_the_file_asks_for_them(
    elsewhere: dict[str, str],
) -> None:
    from spark_jobs import monitor

    pools = {"TENFORWARD_SPARK_POOL": "spark", "TENFORWARD_GPU_POOL": "a100"}
    told = elsewhere | {"TENFORWARD_COMMAND": "/opt/ten/bin/tenforward"} | pools
    dag = described_alone(told)["dags"]
    assert dag["train_c"]["tasks"]["train"]["pool"] == "a100"
    select = dag["select_a_b"]
    assert select["order"] == ["score", "due", "select", "announce"]
    assert select["next"] == ["2013-02-14 03:30", "2013-02-15 03:30"]
    assert select["tasks"]["due"]["command"].startswith("/opt/ten/bin/tenforward due --pipeline")
    assert select["tasks"]["due"]["pool"] == "default_pool"
    assert select["tasks"]["score"]["pool"] == select["tasks"]["select"]["pool"] == "spark"
    monitored = dag["select_c"]
    assert monitored["downstream"] == {
        "score": ["monitor", "select"], "monitor": [], "select": ["announce"], "announce": []
    }  # fmt: skip
    task = monitored["tasks"]["monitor"]
    assert task["application"] == str(ROOT / "spark_jobs" / "monitor.py")
    assert task["told on failure"] == ["tell_remedy"]
    said = [DAY if "{{" in word else word for word in task["arguments"]]
    assert monitor.parser().parse_args(said).ds == date.fromisoformat(DAY)
    _of_records_from_elsewhere(dag["select_online"], dag["select_import"])


def test_a_day_in_one_session_is_one_task(environment: dict[str, str], tmp_path: Path) -> None:
    """Where conditions and the monitor are asked for, too."""
    from spark_jobs import backfill

    schedule = "[schedule]\none_session = true\ndrift = 0.1\n[monitor]\n"
    (tmp_path / "d.toml").write_text(f"name = 'd'\n{schedule}")
    dag = described_alone(environment | {"TENFORWARD_PIPELINES": str(tmp_path)})["dags"]["select_d"]
    assert dag["downstream"] == {
        "score-select": ["announce", "monitor"], "announce": [], "monitor": []
    }  # fmt: skip
    task = dag["tasks"]["score-select"]
    assert task["application"] == str(ROOT / "spark_jobs" / "backfill.py")
    said = [DAY if "{{" in word else word for word in task["arguments"]]
    args = backfill.parser().parse_args(said)
    assert (args.start, args.end, args.only) == (*[date.fromisoformat(DAY)] * 2, "score,select")


def _of_records_from_elsewhere(online: dict[str, Any], imports: dict[str, Any]) -> None:
    """Where a server brings the records nothing is scored; a log is imported in its place."""
    from spark_jobs import import_records

    assert online["downstream"] == {
        "due": ["select"], "select": ["announce"], "announce": [], "monitor": []
    }  # fmt: skip
    assert imports["downstream"] == {
        "import-records": ["monitor", "select"], "monitor": [], "select": ["announce"],
        "announce": [],
    }  # fmt: skip
    task = imports["tasks"]["import-records"]
    assert task["application"] == str(ROOT / "spark_jobs" / "import_records.py")
    said = [DAY if "{{" in word else word for word in task["arguments"]]
    assert import_records.parser().parse_args(said).ds == date.fromisoformat(DAY)


@pytest.mark.parametrize(
    ("place", "package", "operator"),
    [
        ("kubernetes", "cncf", "KubernetesPodOperator"),
        ("ssh", "ssh", "SSHOperator"),
    ],
)
def test_the_training_runs_where_it_is_told(
    elsewhere: dict[str, str], place: str, package: str, operator: str
) -> None:
    """Where Airflow's provider is not installed: an import error that names it."""
    told = elsewhere | {"TENFORWARD_RUN_ON": place, "TENFORWARD_POD_TEMPLATE": "/pods/gpu.yaml"}
    if importlib.util.find_spec(f"airflow.providers.{package}") is None:
        with pytest.raises(AssertionError, match=f"TENFORWARD_RUN_ON = '{place}'.*Remedy: install"):
            described_alone(told)
        return
    task = described_alone(told)["dags"]["train_a_b"]["tasks"]["train"]
    assert task["type"] == operator
    assert (task["pool"], task["policy"]) == ("gpu", "FinalExitCodes")
    if place == "kubernetes":
        command, template = task["pod"]
        assert command.startswith("tenforward train --pipeline")
        assert command.endswith("--refresh latest >/airflow/xcom/return.json")
        assert template == "/pods/gpu.yaml"
    else:
        assert task["command"].startswith("tenforward train --pipeline")


def test_spark_tasks_take_their_master_from_the_connection(select: dict[str, Any]) -> None:
    for name, job in {"score": "score.py", "select": "select_sample.py"}.items():
        task = select["tasks"][name]
        assert task["type"] == "SparkSubmitOperator"
        assert task["connection"] == "spark_default"
        assert task["application"] == str(ROOT / "spark_jobs" / job)


def test_the_jobs_accept_what_the_spark_tasks_say(select: dict[str, Any]) -> None:
    from spark_jobs import score, select_sample

    for name, job in {"score": score, "select": select_sample}.items():
        said = [DAY if "{{" in word else word for word in select["tasks"][name]["arguments"]]
        args = job.parser().parse_args(said)
        assert args.ds == date.fromisoformat(DAY)
        assert args.warehouse == "/lake/it's flights"
        assert args.pipeline == str(ROOT / "pipelines" / "flights.toml")


def test_the_trainer_accepts_what_the_train_task_says(
    train: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import tenforward
    from trainer import train as trainer

    def heard(pipeline: Any, warehouse: str, refresh: str | None, **_: Any) -> dict[str, Any]:
        return {"pipeline": pipeline.name, "warehouse": warehouse, "refresh": refresh}

    monkeypatch.setattr(trainer, "train_refresh", heard)
    command, *arguments = shlex.split(train["tasks"]["train"]["command"])
    assert command == "tenforward"
    assert tenforward.main(arguments) == 0
    said = json.loads(capfd.readouterr().out)
    assert said == {"pipeline": "flights", "warehouse": "/lake/it's flights", "refresh": None}


# --- (c) failures, days and bells ---


@pytest.mark.parametrize("operator", ["spark", "bash", "ssh", "pod"])
def test_exit_codes_2_3_4_are_final_and_the_others_retried(
    described: dict[str, Any], operator: str
) -> None:
    final = {"2": "fail", "3": "fail", "4": "fail"}
    again = {"1": "default", "5": "default", "137": "default"}
    assert described["decisions"][operator] == final | again


def test_the_last_words_of_a_failed_task_are_a_remedy(described: dict[str, Any]) -> None:
    retried = "every try failed: the log of the last one says why. Then clear the task."
    assert described["remedies"] == [
        "What to do (exit code 3): no data for this day: ingest it. Then clear the task.",
        f"What to do (exit code 1): {retried}",
        f"What to do (exit code None): {retried}",
    ]


def test_a_day_without_instances_is_skipped_and_a_window_without_records_is_not(
    described: dict[str, Any],
) -> None:
    assert described["without data"] == {"score": "AirflowSkipException", "select": "RuntimeError"}


def test_a_day_in_one_session_is_skipped_where_its_tasks_would_be(
    described: dict[str, Any],
) -> None:
    assert described["one session"] == {
        "drawn": "goes on",
        "not due": "AirflowSkipException",
        "no budget": "AirflowSkipException",
        "driver in a cluster": "goes on",
        "no instances": "AirflowSkipException",
        "nothing to draw from": "RuntimeError",
    }


def test_a_day_that_is_not_over_is_refused(described: dict[str, Any]) -> None:
    days = described["days"]
    assert days["past"] == DAY
    assert "not over yet" in days["today"]
    assert days["worker's clock is late"].count("-") == 2
    assert "no logical date" in days["no date"]


def test_a_backfilled_run_rings_no_bell(described: dict[str, Any]) -> None:
    assert described["scheduled"] == "rings"
    assert "no bell" in described["backfilled"]


@pytest.mark.parametrize(
    ("returned", "state"),
    [
        ("bash, done", "success"),
        ("bash, idle", "skipped: 3 of 7 days"),
        ("pod, idle", "skipped: nothing to do"),
        ("ssh, done", "success"),
        ("ssh, idle", "skipped: 3 of 7 days"),
        ("not ours", "failed: no JSON result on the last line: ['hello']"),
        ("silent", "failed: no JSON result on the last line: []"),
    ],
)
def test_a_command_with_nothing_to_do_is_a_skipped_task(
    described: dict[str, Any], returned: str, state: str
) -> None:
    assert described["outcomes"][returned].startswith(state)
