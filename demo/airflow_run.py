"""Days under Airflow's real scheduler, told as a table: `docs/airflow-run.md` is what it printed.

    python -m demo.airflow_run --warehouse warehouse 2013-02-12 2013-02-13

The warehouse is one that `make demo` or `make up` has filled, with flights up to the last day.
Each day is triggered by hand, everything after that happens by itself; a day that `[schedule]` does
not make due is scored and no more. Seconds are from the moment of the trigger.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from demo.airflow_home import airflow_home, flights_alone
from demo.airflow_server import AirflowServer
from schemas.registry import champion_version, mlflow_client

SELECT, TRAIN = "select_flights", "train_flights"


def timeline(server: AirflowServer, day: str, champion: Any) -> Iterator[str]:
    """Run a day; a line for each thing that happened."""
    before, trained = champion(), len(server.runs(TRAIN))
    run_id = server.trigger(SELECT, day)
    began = datetime.fromisoformat(server.run(SELECT, run_id)["queued_at"])

    def at(moment: str) -> str:
        return f"{(datetime.fromisoformat(moment) - began).total_seconds():6.1f}"

    def lines(dag_id: str, run: str) -> Iterator[str]:
        begun = [task for task in server.tasks(dag_id, run).values() if task["start_date"]]
        for task in sorted(begun, key=lambda task: str(task["start_date"])):
            name = f"`{dag_id}.{task['task_id']}`"
            yield f"| {at(task['start_date'])} | {name} starts |"
            yield f"| {at(task['end_date'])} | {name}: {task['state']} |"

    yield f"| | **{day}**, champion: version {before} |"
    server.ended(SELECT, run_id)
    yield from lines(SELECT, run_id)
    if server.tasks(SELECT, run_id)["announce"]["state"] != "success":
        yield f"| | no refresh, so no training; champion: version {champion()} |"
        return
    runs = server.wait("training", lambda: server.runs(TRAIN)[trained:])
    training = server.ended(TRAIN, runs[0]["dag_run_id"])["dag_run_id"]
    path = f"dags/{TRAIN}/dagRuns/{quote(training, safe='')}/upstreamAssetEvents"
    for event in server.ask(path)["asset_events"]:
        yield f"| {at(event['timestamp'])} | event of `flights_refreshes`: `{event['extra']}` |"
    yield from lines(TRAIN, training)
    yield f"| | champion: version {champion()} |"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; prints the table on stdout."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("days", nargs="+", metavar="DAY")
    line.add_argument("--warehouse", default="warehouse")
    args = line.parse_args(argv)
    warehouse = str(Path(args.warehouse).resolve())
    client = mlflow_client(warehouse)

    def champion() -> str:
        version = champion_version(client, "flights")
        return "none" if version is None else str(version.version)

    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        alone = flights_alone(Path(folder))
        where = {"TENFORWARD_WAREHOUSE": warehouse, "TENFORWARD_PIPELINES": alone}
        home = airflow_home(Path(folder), **where)
        with AirflowServer(home, Path(folder)) as server:
            print(f"Airflow was up after {time.monotonic() - began:.0f} s.\n")
            print("| second | what happened |\n|---:|---|")
            for day in args.days:
                print(*timeline(server, day, champion), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
