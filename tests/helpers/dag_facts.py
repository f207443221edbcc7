"""The DAGs as plain values, described by a process that has Airflow alone.

That process runs this file as its script, and is forbidden whatever an environment with Airflow
alone would lack: this file may import only Airflow and the standard library.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "dags"
DAY = "2013-02-14"
ABSENT = {"pyspark", "delta", "deltalake", "numba", "numpy", "pandas", "pyarrow", "scipy"}
ABSENT |= {"torch", "petastorm", "mlflow"}
ABSENT |= {"console", "schemas", "spark_jobs", "trainer", "inference", "tenforward"}
ABSENT |= {"benchmarks", "demo", "reference"}
CODES = (1, 2, 3, 4, 5, 137)


def described_alone(environment: dict[str, str]) -> dict[str, Any]:
    """What `describe` says, from a process where nothing but Airflow can be imported."""
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def describe() -> dict[str, Any]:
    """The DAGs as plain values; runs where only Airflow can be imported."""
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    if bag.import_errors:
        sys.exit("\n".join(bag.import_errors.values()))
    return {
        "dags": {dag_id: _described(dag) for dag_id, dag in bag.dags.items()},
        "days": _days(),
        "outcomes": _outcomes(),
        "remedies": _remedies(),
        **(_of_flights(bag.dags) if "select_flights" in bag.dags else {}),
    }


def _of_flights(dags: Any) -> dict[str, Any]:
    return {
        "decisions": _decisions(dags),
        "without data": _without_data(dags),
        "one session": _one_session(),
        "backfilled": _announce_when("backfill", dags),
        "scheduled": _announce_when("scheduled", dags),
    }


def _described(dag: Any) -> dict[str, Any]:
    return {
        "order": [task.task_id for task in dag.topological_sort()],
        "downstream": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
        "asset": getattr(dag.schedule, "name", None),
        "next": _next_run(dag),
        "catchup": dag.catchup,
        "end": str(dag.end_date),
        "max_active_runs": dag.max_active_runs,
        "tags": sorted(dag.tags),
        "doc": dag.doc_md,
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
    }


def _next_run(dag: Any) -> list[str] | None:
    """For the first run on or after DAY: its logical date, and when it starts."""
    from airflow.sdk.timezone import datetime
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    info = coerce_to_core_timetable(dag.timetable).next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(datetime(2013, 2, 14), None, True),
    )
    return [str(info.logical_date)[:16], str(info.run_after)[:16]] if info else None


def _task(task: Any) -> dict[str, Any]:
    return {
        "type": type(task).__name__,
        "pool": task.pool,
        "retries": task.retries,
        "backoff": task.retry_exponential_backoff,
        "policy": type(task.retry_policy).__name__,
        "timeout": task.execution_timeout.total_seconds(),
        "outlets": [asset.name for asset in task.outlets],
        "connection": getattr(task, "_conn_id", None),
        "application": getattr(task, "application", None),
        "arguments": getattr(task, "application_args", None),
        "command": getattr(task, "bash_command", None) or getattr(task, "command", None),
        "pod": [*getattr(task, "arguments", []), getattr(task, "pod_template_file", None)],
        "links": [link.name for link in task.operator_extra_links],
        "told on failure": [call.__name__ for call in task.on_failure_callback],
    }


def _decisions(dags: Any) -> dict[str, dict[int, str]]:
    """What the retry policy makes of each exit code, by the operators' own exceptions."""
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
    from airflow.providers.standard.operators.bash import BashOperator

    def spark(code: int) -> None:
        hook = SparkSubmitHook()
        command = ["bash", "-c", f"exit {code}", "spark-submit"]
        setattr(hook, "_get_spark_binary_path", lambda: command)  # noqa: B010 -- a method
        hook.submit("score.py")

    def bash(code: int) -> None:
        BashOperator(task_id="t", bash_command=f"exit {code}").execute({})

    def ssh(code: int) -> None:  # as the SSHOperator's text has it; it is not installed
        raise RuntimeError(f"SSH operator error: exit status = {code}")

    def pod(code: int) -> None:  # as the KubernetesPodOperator's text has it: a line a container
        text = f"'state': {{'terminated': {{'exit_code': {code}, 'reason': 'Error'}}}}"
        raise RuntimeError(
            f"Pod x returned a failure.\nremote_pod: {text} {text.replace(str(code), '0')}"
        )

    found: dict[str, dict[int, str]] = {}
    policy = dags["train_flights"].get_task("train").retry_policy
    for name, run in {"spark": spark, "bash": bash, "ssh": ssh, "pod": pod}.items():
        found[name] = {}
        for code in CODES:
            try:
                run(code)
            except Exception as error:  # noqa: BLE001 -- whatever the operator raises
                found[name][code] = policy.evaluate(error, 1, 2).action.value
    return found


def _days() -> dict[str, str]:
    """The day of runs, or why they have none."""
    from datetime import UTC, datetime, timedelta

    from airflow.sdk.exceptions import AirflowFailException
    from tenforward_dags.day import whole_day

    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    runs = {
        "past": SimpleNamespace(logical_date=datetime(2013, 2, 14, 5, tzinfo=UTC), run_after=now),
        "today": SimpleNamespace(logical_date=now, run_after=now),
        "worker's clock is late": SimpleNamespace(logical_date=now, run_after=midnight),
        "no date": SimpleNamespace(logical_date=None, run_after=now),
    }
    found = {}
    for name, run in runs.items():
        try:
            found[name] = whole_day(run)
        except AirflowFailException as error:
            found[name] = str(error)
    return found


def _outcomes() -> dict[str, Any]:
    """What the task makes of what each operator returns: skipped, with words, or not."""
    from base64 import b64encode

    from airflow.sdk.exceptions import AirflowException, AirflowSkipException
    from tenforward_dags.outcome import keep_or_skip, outcome_of

    done, idle = '{"status": "done"}', '{"status": "not due", "reason": "3 of 7 days"}'
    returned: dict[str, Any] = {
        "bash, done": outcome_of(f"log\n{done}"),
        "bash, idle": outcome_of(idle),
        "pod, idle": {"status": "nothing to do"},
        "ssh, done": b64encode(f"{done}\n".encode()).decode(),
        "ssh, idle": b64encode(f"log\n{idle}\n".encode()).decode(),
        "not ours": "hello",
        "silent": "",
    }
    found: dict[str, Any] = {}
    for name, result in returned.items():
        kept: list[Any] = []
        task = SimpleNamespace()
        ti = SimpleNamespace(xcom_push=lambda key, value, kept=kept: kept.append(value))
        try:
            keep_or_skip({"ti": ti, "task": task}, result)  # type: ignore[typeddict-item]
            found[name] = "success"
        except AirflowSkipException as error:
            found[name] = f"skipped: {error}"
            assert kept == [outcome_of(result)]
        except AirflowException as error:
            found[name] = f"failed: {error}"
    return found


def _remedies() -> list[str]:
    """The last words of failed tasks: of a final exit code, of another, of something else."""
    import logging

    from tenforward_dags.retries import tell_remedy

    words: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: words.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("airflow.task").addHandler(handler)
    for text in ("Error code is: 3.", "non-zero exit code 1.", "the worker is gone"):
        tell_remedy({"exception": RuntimeError(text)})  # type: ignore[typeddict-item]
    return words


def _without_data(dags: Any) -> dict[str, str]:
    """What becomes of the tasks whose job says that there are no data."""

    def nothing(*_: Any) -> None:
        raise RuntimeError("Cannot execute: spark-submit. Error code is: 3.")

    found = {}
    for name in ("score", "select"):
        task = dags["select_flights"].get_task(name)
        task._hook = SimpleNamespace(submit=nothing)
        task._get_hook = lambda task=task: task._hook
        try:
            type(task).execute.__wrapped__(task, {})
        except Exception as error:  # noqa: BLE001 -- whatever the operator raises
            found[name] = type(error).__name__
    return found


def _one_session() -> dict[str, str]:
    """What becomes of a day in one session, by what its job has said and how it ended."""
    from tenforward_dags.spark_task import SparkSubmitOperator

    def failed(*_: Any) -> None:
        raise RuntimeError("Cannot execute: spark-submit. Error code is: 3.")

    scored = {"ds": DAY, "score": {"status": "done"}}
    cases: dict[str, tuple[dict[str, Any] | None, Any]] = {
        "drawn": ({"days": [scored | {"select": {"status": "done"}}]}, print),
        "not due": ({"days": [scored | {"due": {"status": "not due"}}]}, print),
        "no budget": ({"days": [scored | {"select": {"status": "nothing to do"}}]}, print),
        "driver in a cluster": (None, print),
        "no instances": ({"status": "failed", "exit_code": 3}, failed),
        "nothing to draw from": ({"status": "failed", "passed_over": 1}, failed),
    }
    found = {}
    for name, (outcome, submit) in cases.items():
        task = SparkSubmitOperator(task_id="score-select", application="backfill.py")
        task.skips, task.outcome, task._hook = True, outcome, SimpleNamespace(submit=submit)
        task._get_hook = lambda task=task: task._hook
        try:
            type(task).execute.__wrapped__(task, {})
            found[name] = "goes on"
        except Exception as error:  # noqa: BLE001 -- whatever the operator raises
            found[name] = type(error).__name__
    return found


def _announce_when(run_type: str, dags: Any) -> str:
    """Whether the bell rings in a run of this type."""
    from airflow.sdk.exceptions import AirflowSkipException

    announce = dags["select_flights"].get_task("announce")
    try:
        announce._pre_execute_hook({"dag_run": SimpleNamespace(run_type=run_type)})
    except AirflowSkipException as error:
        return str(error)
    return "rings"


class _AirflowAlone:
    """Refuses to import what an environment with Airflow alone does not have."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{name}: not in Airflow's environment", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, _AirflowAlone())
    print(json.dumps(describe()))
