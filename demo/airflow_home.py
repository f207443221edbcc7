"""A throw-away Airflow, and runs of our DAGs in it: one process, real tasks, no scheduler.

    python -m demo.airflow_home --warehouse DIR select_flights@2013-02-14 train_flights

runs the DAGs one after the other and prints a JSON line each; the tasks' logs go to stderr. The
exit code is 1 when a run failed. From Python: `run_dags(airflow_home(folder), ["train_flights"])`.
"""

import argparse
import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from schemas.command import stdout_kept_for_result

ROOT = Path(__file__).resolve().parents[1]
DAGS = ROOT / "dags"
POOLS = DAGS / "pools.json"

# Two commands in one process: most of the time of each is spent on importing Airflow.
_MIGRATE = """
import sys
from airflow.cli.cli_parser import get_parser
for line in (["db", "migrate"], ["pools", "import", sys.argv[1]]):
    args = get_parser().parse_args(line)
    args.func(args)
"""


def airflow_home(folder: Path, **extra: str) -> dict[str, str]:
    """Make an Airflow home in `folder`; the environment of every command that is to use it.

    `extra` is added to it, such as TENFORWARD_WAREHOUSE and TENFORWARD_PIPELINES.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "airflow.db").exists():
        shutil.copyfile(_migrated(), folder / "airflow.db")
    return _environment(folder) | extra


def flights_alone(folder: Path) -> str:
    """A folder of pipelines with flights.toml only: a warehouse holds one pipeline."""
    pipelines = folder / "pipelines"
    pipelines.mkdir(parents=True, exist_ok=True)
    link = pipelines / "flights.toml"
    if not link.exists():
        link.symlink_to(ROOT / "pipelines" / "flights.toml")
    return str(pipelines)


def _environment(folder: Path) -> dict[str, str]:
    """This process's environment, less what belongs to another Airflow or Spark."""
    foreign = ("AIRFLOW", "_AIRFLOW", "SPARK_HOME", "SPARK_CONF_DIR", "PYTHONPATH", "PYTHONHOME")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    python = Path(sys.executable)
    return inherited | {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder.resolve()}/airflow.db",
        # Every core of this machine. Without a connection Airflow would ask for YARN.
        "AIRFLOW_CONN_SPARK_DEFAULT": "spark://local%5B%2A%5D",
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYSPARK_PYTHON": str(python),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def _migrated() -> Path:
    """A database of this Airflow with our pools in it, kept in the environment: it takes 15 s."""
    marks = version("apache-airflow").encode() + POOLS.read_bytes()
    kept = Path(sys.prefix) / f"airflow-{hashlib.sha256(marks).hexdigest()[:12]}.db"
    if kept.exists():
        return kept
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        done = subprocess.run(
            [sys.executable, "-c", _MIGRATE, str(POOLS)],
            env=_environment(Path(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # twenty lines that tell nothing unless it fails
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"Airflow's database could not be made:\n{done.stdout[-4000:]}")
        (Path(folder) / "airflow.db").replace(kept)
    return kept


def run_dags(
    environment: Mapping[str, str], runs: Sequence[str], log: IO[str] | None = None
) -> list[dict[str, Any]]:
    """Run DAGs, each `dag_id` or `dag_id@day`, in a process of their own; a result each.

    Stops after the first run that fails; its `errors` say why, task by task. The log goes to
    stderr, or to the file `log`.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--in-this-home", *runs],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        check=False,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode and not any(result["state"] != "success" for result in results):
        raise RuntimeError(f"Airflow ended with exit code {done.returncode}:\n{_tail(log)}")
    return results


def _tail(log: IO[str] | None) -> str:
    """The end of a log, for an error's message."""
    if log is None or not log.readable():
        return "its log says why"
    log.seek(0)
    return log.read()[-4000:]


def _run_here(runs: Sequence[str]) -> int:
    """Run DAGs in this process, whose environment is that of an Airflow home."""
    gc.disable()  # Airflow's imports make a million objects that stay: 6 of 16 s went into looking
    with stdout_kept_for_result() as emit:
        from airflow.dag_processing.dagbag import BundleDagBag

        bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
        if bag.import_errors:
            print(*bag.import_errors.values(), sep="\n", file=sys.stderr)
            return 1
        for run in runs:
            dag_id, _, day = run.partition("@")
            result = _run(bag.dags[dag_id], day)
            emit(result)
            if result["state"] != "success":
                return 1
    return 0


def _run(dag: Any, day: str) -> dict[str, Any]:
    """One run of a DAG. Its tasks are retried as ever, but without a wait in between."""
    errors: dict[str, str] = {}

    def note(context: Any) -> None:
        errors[context["ti"].task_id] = str(context["exception"])

    for task in dag.tasks:
        task.retry_delay = timedelta(0)
        task.on_failure_callback = [note]
    began = time.monotonic()
    # A run that an asset event starts has no logical date.
    date = datetime.fromisoformat(day).replace(tzinfo=UTC) if day else None
    run = dag.test(logical_date=date)
    return {
        "dag_id": dag.dag_id,
        "run_id": run.run_id,
        "state": str(run.state),
        "seconds": round(time.monotonic() - began, 1),
        "tasks": {ti.task_id: str(ti.state) for ti in run.get_task_instances()},
        "errors": errors,
        "events": _events(run.run_id),
    }


def _events(run_id: str) -> list[dict[str, Any]]:
    """The asset events that a run emitted."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        events = session.query(AssetEvent).filter(AssetEvent.source_run_id == run_id)
        return [{"asset": event.asset.name, "extra": event.extra} for event in events]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    line = argparse.ArgumentParser(description="Run DAGs in a throw-away Airflow.")
    line.add_argument("runs", nargs="+", metavar="DAG[@DAY]")
    line.add_argument("--warehouse", help="TENFORWARD_WAREHOUSE of the runs")
    line.add_argument("--in-this-home", action="store_true", help=argparse.SUPPRESS)
    args = line.parse_args(argv)
    if args.in_this_home:
        return _run_here(args.runs)
    extra = {"TENFORWARD_WAREHOUSE": str(Path(args.warehouse).resolve())} if args.warehouse else {}
    with tempfile.TemporaryDirectory() as folder:
        results = run_dags(airflow_home(Path(folder), **extra), args.runs)
    for result in results:
        print(json.dumps(result))
    return int(any(result["state"] != "success" for result in results))


if __name__ == "__main__":
    sys.exit(main())
