"""`make up`: Airflow and MLflow with their pages, and the flights live, on this machine alone.

The first time, the flights fill the feature store and a first model is trained. From then on every
two minutes the next day of 2013 is run, once the day before has ended; days that `[schedule]` makes
due are trained on. Everything listens on the loopback address, where whoever can reach it is an
administrator. Ctrl-C or `make down` stops it: the running task first ends and is recorded; the next
`make up` goes on from there.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from demo.airflow_home import ROOT, airflow_home, flights_alone
from demo.airflow_server import AirflowServer, free_port
from schemas.log import configure_logging, log
from schemas.manifests import REPORT_CARDS, read_manifests
from schemas.registry import tracking_uri

PIPELINE, START = "pipelines/flights.toml", date(2013, 1, 20)  # as make demo has them
PYTHON = Path(sys.executable)
AIRFLOW_PORT, MLFLOW_PORT, CARDS_PORT = 8080, 5000, 8000
ACTIVE, ENDED = ("queued", "running"), "success"
AGAIN = 5.0  # seconds until Airflow is asked again that did not answer


def prepare(warehouse: str, last: date) -> None:
    """Flights up to `last` and a first model, in a process of its own: Spark ends with it."""
    process = get_context("spawn").Process(target=_prepare, args=(warehouse, last))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"the first model: exit code {process.exitcode}; its log is above")


def _prepare(warehouse: str, last: date) -> None:
    from demo.loop import prepare  # with Spark and torch, which the supervisor does not need
    from schemas.pipeline import load_pipeline
    from spark_jobs.storage.warehouse import Warehouse

    configure_logging()
    prepare(Warehouse(warehouse, load_pipeline(ROOT / PIPELINE)), last)


def newest_day(warehouse: str) -> date | None:
    """The day of the newest refresh; None before the first one, when a model may be missing too."""
    if not (Path(warehouse) / "refreshes" / "_delta_log").exists():
        return None
    refreshes = read_manifests(f"{warehouse}/refreshes", policy="calibrated")
    return max((refresh.ds for refresh in refreshes), default=None)


def following(refreshed: date | None, runs: Sequence[dict[str, Any]]) -> date:
    """The day after the newest refresh, or after a later day that was run and not due."""
    done = [date.fromisoformat(run["logical_date"][:10]) for run in runs if run["state"] == ENDED]
    newest = max([*done, *([] if refreshed is None else [refreshed])], default=None)
    return START if newest is None else newest + timedelta(days=1)


def answers(port: int) -> bool:
    """Whether a page is there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=10) as answer:
        return bool(answer.status == 200)


class Machine:
    """What `make up` runs, and how it stops."""

    def __init__(self, warehouse: str, folder: Path) -> None:
        self.warehouse, self.folder = warehouse, folder
        self.stopping = threading.Event()
        self.ports = [free_port(one) for one in (AIRFLOW_PORT, MLFLOW_PORT, CARDS_PORT)]
        home = airflow_home(
            folder,
            TENFORWARD_PIPELINES=flights_alone(folder),
            TENFORWARD_WAREHOUSE=warehouse,
            TENFORWARD_MLFLOW_URL=f"http://127.0.0.1:{self.ports[1]}",
            TENFORWARD_CARDS_URL=f"http://127.0.0.1:{self.ports[2]}",
        )
        self.server = AirflowServer(home, folder, self.ports[0])
        self.pages: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """MLflow's pages and the report cards, then Airflow."""
        mlflow = ["--backend-store-uri", tracking_uri(self.warehouse), "--workers", "1"]
        where = ["--host", "127.0.0.1", "--port", str(self.ports[1])]
        self._page("mlflow", [str(PYTHON.with_name("mlflow")), "ui", *mlflow, *where])
        cards = Path(self.warehouse) / REPORT_CARDS
        cards.mkdir(exist_ok=True)
        line = ["-m", "http.server", str(self.ports[2]), "--bind", "127.0.0.1"]
        self._page("cards", [str(PYTHON), *line, "--directory", str(cards)])
        self.server.start()
        for name, port in zip(("MLflow", "the report cards"), self.ports[1:], strict=True):
            self.server.wait(name, partial(answers, port))

    def _page(self, name: str, line: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                line, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pages.append(process)

    def addresses(self) -> str:
        """Where to look, in words."""
        airflow, mlflow, cards = (f"http://127.0.0.1:{port}" for port in self.ports)
        return (
            f"Airflow       {airflow}\nMLflow        {mlflow}\nreport cards  {cards}\n"
            f"logs          {self.folder}\nCtrl-C, or make down in another terminal, stops it."
        )

    def live(self, every: float, last: date) -> None:
        """Run day after day until it is stopped or a part has died."""
        going = True
        while not self.stopping.is_set():
            for process in [*self.server.processes.values(), *self.pages]:
                if process.poll() is not None:
                    log.error("%s ended with %s", process.args, process.returncode)
                    return
            pause = every
            try:
                if going and not self.next_day(last):
                    going = False  # the pages stay
                    log.info("the last day, or one that failed: see Airflow's pages")
            except (urllib.error.URLError, TimeoutError) as error:
                log.warning("Airflow does not answer, asking again: %s", error)
                pause = min(every, AGAIN)  # its SQLite was locked by a task, for a moment
            self.stopping.wait(pause)

    def next_day(self, last: date) -> bool:
        """Start the day after the newest one that was run, where nothing runs; False at the end."""
        selections = self.server.runs("select_flights")
        runs = [*selections, *self.server.runs("train_flights")]
        day = following(newest_day(self.warehouse), selections)
        if any(run["state"] in ACTIVE for run in runs):
            return True
        if day > last or any(str(run["logical_date"]).startswith(str(day)) for run in runs):
            return False
        log.info("%s begins", day)
        self.server.trigger("select_flights", str(day))
        return True

    def stop(self) -> None:
        """Airflow's running task ends; then everything else."""
        log.info("stopping; a running task ends first")
        self.server.stop()
        for process in self.pages:
            process.terminate()
        for process in self.pages:
            process.wait(60)
        log.info("stopped")


def up(warehouse: str, folder: Path, every: float, last: date) -> int:
    """Start everything and wait for a signal; the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    pid = folder / "up.pid"
    if running(pid):
        log.error("it runs already, as process %s. Remedy: make down", pid.read_text())
        return 2
    pid.write_text(str(os.getpid()))
    try:
        if newest_day(warehouse) is None:
            prepare(warehouse, last)
        return _run(Machine(warehouse, folder), every, last)
    finally:
        pid.unlink()


def _run(machine: Machine, every: float, last: date) -> int:
    """Until a signal comes, or a part dies: exit code 1."""

    def asked_to_stop(signum: int, frame: FrameType | None) -> None:
        machine.stopping.set()

    signal.signal(signal.SIGTERM, asked_to_stop)
    signal.signal(signal.SIGINT, asked_to_stop)
    try:
        machine.start()
        print(machine.addresses(), flush=True)
        machine.live(every, last)
        return 0 if machine.stopping.is_set() else 1
    finally:
        machine.stop()


def running(pid: Path) -> psutil.Process | None:
    """The process of `make up`, if it runs."""
    try:
        process = psutil.Process(int(pid.read_text()))
        return process if "demo.up" in process.cmdline() else None
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None


def down(folder: Path) -> int:
    """Ask it to stop, and wait until it has."""
    process = running(folder / "up.pid")
    if process is None:
        log.info("nothing runs")
        return 0
    process.terminate()
    while running(folder / "up.pid"):
        time.sleep(0.5)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    line = argparse.ArgumentParser(prog="make up", description=__doc__)
    place = os.environ.get("TENFORWARD_WAREHOUSE", "warehouse")
    line.add_argument("--warehouse", default=place, help="the tables (%(default)s)")
    line.add_argument("--folder", default="airflow", help="Airflow's home and logs (%(default)s)")
    line.add_argument(
        "--every", type=float, default=120, help="seconds between looks (%(default)s)"
    )
    last = START + timedelta(days=27)
    line.add_argument("--last", type=date.fromisoformat, default=last, help="day (%(default)s)")
    line.add_argument("--down", action="store_true", help="stop what runs")
    args = line.parse_args(argv)
    configure_logging()
    folder = Path(args.folder).resolve()
    if args.down:
        return down(folder)
    return up(str(Path(args.warehouse).resolve()), folder, args.every, args.last)


if __name__ == "__main__":
    sys.exit(main())
