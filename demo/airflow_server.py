"""An Airflow with its real scheduler on this machine: start, ask, stop cleanly.

    with AirflowServer(airflow_home(folder, TENFORWARD_WAREHOUSE=...), folder) as server:
        server.trigger("select_flights", "2013-02-14")

Three processes on the loopback address; whoever can reach it is an administrator, so it is for one
person's machine and for tests.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

STARTED = 240  # seconds until a component must answer: 20 to 40 where nothing else runs
STOPPED = 900  # seconds that a running task has to finish


def server_environment(home: Mapping[str, str], port: int) -> dict[str, str]:
    """The environment of an Airflow home, with what a scheduler needs."""
    address = f"http://127.0.0.1:{port}"
    return {
        **home,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
    }


def free_port(wanted: int = 0) -> int:
    """The wanted port, or any other where somebody listens on it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])


class Stopped(Exception):
    """It was asked to stop before it was up."""


def end(processes: Sequence[subprocess.Popen[bytes]], limit: float) -> None:
    """Ask processes to end, wait so many seconds for each, and leave nothing of theirs behind.

    One that is asked while it is only starting may end before it takes its children along.
    """
    families = [_family(process) for process in processes]
    for process in processes:
        process.terminate()
    for process, family in zip(processes, families, strict=True):
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.terminate()
        for one in psutil.wait_procs(family, timeout=5)[1]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def _family(process: subprocess.Popen[bytes]) -> set[psutil.Process]:
    """The descendants of a process, and what is left of its session where it was killed."""
    found = {one for one in psutil.process_iter() if _session(one) == process.pid}
    with suppress(psutil.NoSuchProcess):
        found |= set(psutil.Process(process.pid).children(recursive=True))
    return {one for one in found if one.pid != process.pid}


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


@dataclass
class AirflowServer:
    """The api-server, the scheduler and the DAG processor of one Airflow home."""

    home: Mapping[str, str]
    folder: Path
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    killed: list[subprocess.Popen[bytes]] = field(default_factory=list)  # and started again since
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.environment = server_environment(self.home, self.port)

    @property
    def address(self) -> str:
        """Where its pages are."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """The api-server first: tasks that start before it answers would die.

        Raises Stopped as soon as `stopping` is set.
        """
        self.launch("api-server")
        self.wait("the api-server", lambda: self.ask("monitor/health"))
        self.launch("scheduler", "--skip-serve-logs")  # which would listen to the whole network
        self.launch("dag-processor")
        self.wait("the scheduler", self.healthy)
        self.wait("the DAGs", self.parsed)

    def launch(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start one component; its log is NAME.log in the folder."""
        if name in self.processes:
            self.killed.append(self.processes[name])
        with (self.folder / f"{name}.log").open("ab") as log:
            # In a session of its own, so that Ctrl-C reaches the supervisor alone.
            self.processes[name] = subprocess.Popen(
                [str(Path(sys.executable).with_name("airflow")), name, *options],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.processes[name]

    def healthy(self) -> bool:
        """Whether the scheduler and the DAG processor say that they are alive."""
        health = self.ask("monitor/health")
        parts = ("scheduler", "dag_processor")
        return all(health[part]["status"] == "healthy" for part in parts)

    def parsed(self) -> bool:
        """Whether the DAGs are there. RuntimeError where a file of theirs cannot be read."""
        if errors := self.ask("importErrors")["import_errors"]:
            raise RuntimeError("\n".join(error["stack_trace"] for error in errors))
        return bool(self.ask("dags")["total_entries"])

    def wait(self, what: str, ready: Any, limit: float = STARTED, look: float = 0.5) -> Any:
        """What `ready` answers, once it is true, asked every `look` seconds.

        RuntimeError at the limit, or where a component has died; Stopped where it is to stop.
        """
        last, reason = time.monotonic() + limit, "no error"
        while time.monotonic() < last:
            if self.stopping.is_set():
                raise Stopped(f"{what}: not waited for")
            try:
                if answer := ready():
                    return answer
            except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
                reason = str(error)  # not up yet, or busy
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}: {self.tail(name)}")
            time.sleep(look)
        raise RuntimeError(
            f"{what}: not there after {limit:.0f} s ({reason}). {self.tail('scheduler')}"
        )

    def tail(self, name: str) -> str:
        """The end of a component's log."""
        log = self.folder / f"{name}.log"
        return log.read_text(errors="replace")[-3000:] if log.exists() else ""

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """The JSON answer of `GET /api/v2/PATH`, or of a POST where there is a body."""
        request = urllib.request.Request(
            f"{self.address}/api/v2/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def trigger(self, dag_id: str, day: str | None = None) -> str:
        """Start a run, of a day where one is given; its id."""
        date = f"{day}T00:00:00Z" if day else None
        run = self.ask(f"dags/{dag_id}/dagRuns", {"logical_date": date})
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A run, as Airflow describes it."""
        run: dict[str, Any] = self.ask(f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")
        return run

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of a DAG, oldest first."""
        runs: list[dict[str, Any]] = self.ask(f"dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        return sorted(runs, key=lambda run: str(run["run_after"]))

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """The task instances of a run, by task."""
        answer = self.ask(f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances")
        return {task["task_id"]: task for task in answer["task_instances"]}

    def ended(self, dag_id: str, run_id: str, limit: float = 900) -> dict[str, Any]:
        """The run, once it has ended."""
        over = ("success", "failed")
        return dict(
            self.wait(
                f"{dag_id} {run_id}",
                lambda: run if (run := self.run(dag_id, run_id))["state"] in over else None,
                limit,
            )
        )

    def ring(self, asset: str, extra: dict[str, Any]) -> None:
        """Emit an event of an asset, as its button in the UI does."""
        [entry] = [one for one in self.ask("assets?limit=100")["assets"] if one["name"] == asset]
        self.ask("assets/events", {"asset_id": entry["id"], "extra": extra})

    def stop(self) -> None:
        """The scheduler first: it waits for its running task. Then the others."""
        for names in (("scheduler",), ("dag-processor", "api-server")):
            end([self.processes.pop(name) for name in names if name in self.processes], STOPPED)
        # The workers of a scheduler that was killed wait for work for ever.
        end(self.killed, STOPPED)
        self.killed.clear()

    def __enter__(self) -> "AirflowServer":
        try:
            self.start()
        except BaseException:  # Ctrl-C as well: no part of it may outlive a start that failed
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
