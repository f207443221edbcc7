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
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from demo.airflow_home import ROOT, airflow_home, flights_alone
from demo.airflow_server import AirflowServer, Stopped, end, free_port
from schemas.log import configure_logging, log
from schemas.manifests import REPORT_CARDS, read_manifests
from schemas.registry import tracking_uri

PIPELINE, START = "pipelines/flights.toml", date(2013, 1, 20)  # as make demo has them
PYTHON = Path(sys.executable)
AIRFLOW_PORT, MLFLOW_PORT, CARDS_PORT = 8080, 5000, 8000
ACTIVE, ENDED = ("queued", "running"), "success"
PREPARED, PAGES = 60, 60  # seconds that a process has to end
AGAIN = 5.0  # seconds until Airflow is asked again that did not answer


def prepare(warehouse: str, last: date, stopping: threading.Event) -> None:
    """Flights up to `last` and a first model, in a process of its own: Spark ends with it.

    What is done of it when it is to stop stays, and the next time the rest follows.
    """
    line = [str(PYTHON), "-m", "demo.up", "--warehouse", warehouse, "--last", str(last)]
    process = subprocess.Popen([*line, "--prepare"], cwd=ROOT, start_new_session=True)
    while process.poll() is None:
        if stopping.wait(0.5):
            end([process], PREPARED)
            return
    if process.returncode:
        sys.exit(f"the first model: exit code {process.returncode}; its log is above")


def _prepare(warehouse: str, last: date) -> None:
    from demo.loop import prepare  # with Spark and torch, which the supervisor does not need
    from schemas.pipeline import load_pipeline
    from spark_jobs.storage.warehouse import Warehouse

    configure_logging()
    prepare(Warehouse(warehouse, load_pipeline(ROOT / PIPELINE), lasts=True), last)


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

    def __init__(self, warehouse: str, folder: Path, stopping: threading.Event) -> None:
        self.warehouse, self.folder, self.stopping = warehouse, folder, stopping
        self.ports = [free_port(one) for one in (AIRFLOW_PORT, MLFLOW_PORT, CARDS_PORT)]
        home = airflow_home(
            folder,
            TENFORWARD_PIPELINES=flights_alone(folder),
            TENFORWARD_WAREHOUSE=warehouse,
            TENFORWARD_MLFLOW_URL=f"http://127.0.0.1:{self.ports[1]}",
            TENFORWARD_CARDS_URL=f"http://127.0.0.1:{self.ports[2]}",
        )
        self.server = AirflowServer(home, folder, self.ports[0], stopping=stopping)
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
        end(self.pages, PAGES)
        log.info("stopped")


def up(warehouse: str, folder: Path, every: float, last: date) -> int:
    """Start everything and wait for a signal; the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    if other := running(folder):
        log.error("it runs already, as process %s. Remedy: make down", other.pid)
        return 2
    stopping = _asked_to_stop()
    if newest_day(warehouse) is None:
        prepare(warehouse, last, stopping)
    return 0 if stopping.is_set() else _run(Machine(warehouse, folder, stopping), every, last)


def _asked_to_stop() -> threading.Event:
    """Set by the first signal, whatever is just being started."""
    stopping = threading.Event()

    def asked(signum: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    return stopping


def _run(machine: Machine, every: float, last: date) -> int:
    """Until it is to stop, or a part dies: exit code 1."""
    try:
        machine.start()
        print(machine.addresses(), flush=True)
        machine.live(every, last)
    except Stopped as early:
        log.info("%s", early)
    finally:
        machine.stop()
    return 0 if machine.stopping.is_set() else 1


def running(folder: Path) -> psutil.Process | None:
    """The process of `make up` with that folder, if one runs beside this one.

    By its command line, which is there from its first moment on, while it is still importing.
    """
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            if "demo.up" in line and not {"--down", "--prepare"} & set(line):
                there = Path(process.cwd(), parser().parse_known_args(line)[0].folder).resolve()
                if there == folder and process.pid != os.getpid():
                    return process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # ended meanwhile, or somebody else's
    return None


def down(folder: Path) -> int:
    """Ask it to stop, and wait until it has."""
    process = running(folder)
    if process is None:
        log.info("nothing runs")
        return 0
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    while running(folder):  # not its end alone, which its own parent may not have taken note of
        time.sleep(0.5)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
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
    line.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    return line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = parser().parse_args(argv)
    configure_logging()
    folder = Path(args.folder).resolve()
    if args.down:
        return down(folder)
    if args.prepare:
        _prepare(args.warehouse, args.last)
        return 0
    return up(str(Path(args.warehouse).resolve()), folder, args.every, args.last)


if __name__ == "__main__":
    sys.exit(main())
