"""`make demo`: the loop on real flights, day after day, and what it gained.

A first model learns 17 days of January 2013 and answers for its last week, so that there are
records to choose from. Then every day is scored, selected and trained on: ten days by the backfill,
the newest one by the Airflow DAGs. At the end three models are compared on the day after each
training: the champion; the same model trained on uniform samples of the same size; and the first
model, never retrained. A second run finds everything done and prints the same table.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from demo.airflow_home import airflow_home, run_dags
from demo.next_day import UniformTwin, labelled_features, next_day, registered
from schemas.log import configure_logging, log
from schemas.pipeline import load_pipeline
from schemas.registry import tracking_uri
from spark_jobs.backfill import backfill, train_day
from spark_jobs.bootstrap import bootstrap
from spark_jobs.days.planned import days
from spark_jobs.ingest import ingest
from spark_jobs.score import score_days
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from trainer.train import train_refresh

PIPELINE = "pipelines/flights.toml"
FIRST = date(2013, 1, 8), date(2013, 1, 24)
LOGGED = date(2013, 1, 25), date(2013, 1, 31)
START = date(2013, 2, 1)
ARMS = ("champion", "uniform", "never")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    began = time.monotonic()
    log.info("%s ...", title)
    yield
    log.info("%s: %.0f s", title, time.monotonic() - began)


def prepare(warehouse: Warehouse, last: date) -> str:
    """Fill the feature store, train the first model, let it answer; its version."""
    with step("flights, weather and planes into the feature store"):
        ingest(warehouse, FIRST[0], last + timedelta(days=1))
    with step(f"the first model, on {FIRST[0]} to {FIRST[1]}"):
        refresh = bootstrap(warehouse, *FIRST)["refresh_id"]
        first = train_refresh(warehouse.pipeline, warehouse.root, refresh)
    with step(f"its answers, {LOGGED[0]} to {LOGGED[1]}"):
        score_days(warehouse, list(days(*LOGGED)))
    return str(first["version"])


def run_newest_day(warehouse: Warehouse, ds: date) -> None:
    """The newest day through the real DAGs: spark-submit twice, then training."""
    root = str(Path(warehouse.root).resolve())
    with tempfile.TemporaryDirectory() as folder:
        # Each task is a short session of its own: compile quickly rather than well.
        java = f"{os.environ.get('SPARK_SUBMIT_OPTS', '')} -XX:TieredStopAtLevel=1"
        environment = airflow_home(
            Path(folder), TENFORWARD_WAREHOUSE=root, SPARK_SUBMIT_OPTS=java.strip()
        )
        # Airflow's own log is long: it is shown only where a run fails.
        with (Path(folder) / "log").open("w+") as output:
            results = run_dags(environment, [f"select_flights@{ds}", "train_flights"], output)
            for result in results:
                log.info("%s: %s, %s", result["dag_id"], result["state"], result["tasks"])
            if any(result["state"] != "success" for result in results):
                output.seek(0)
                sys.exit(f"{output.read()}\nthe DAG run failed: {results[-1]['errors']}")


def compare(
    warehouse: Warehouse, first: str, trained: Sequence[dict[str, Any]], rows: Any
) -> list[dict[str, Any]]:
    """A row a day: the sample, and each model's log loss on the day after."""
    twin, champion, never = UniformTwin(warehouse, first), first, registered(warehouse, first)
    table = []
    for number, training in enumerate(trained):
        ds = START + timedelta(days=number)
        champion = str(training["version"]) if training["promoted"] else champion
        arms = {
            "champion": registered(warehouse, champion),
            "uniform": twin.learn(ds, rows),
            "never": never,
        }
        sample = select_day(warehouse, ds)  # done already: its manifest answers
        table.append(next_day(rows, warehouse.pipeline.task, ds, arms) | sample)
    return table


def rendered(table: list[dict[str, Any]]) -> str:
    """The table as text; the last line weighs each day by its flights."""
    lines = [
        "day         candidates  drawn  mean-loss gap    log loss on the next day",
        "                                               champion  uniform  never retrained",
    ]
    lines += [
        f"{row['ds']}  {row['candidates']:>10,}  {row['drawn']:>5,}  {row['mean_loss_gap']:>+13.4f}"
        f"   {row['champion']:>8.4f}  {row['uniform']:>7.4f}  {row['never']:>15.4f}"
        for row in table
    ]
    flights = sum(row["flights"] for row in table)
    mean = {arm: sum(row[arm] * row["flights"] for row in table) / flights for arm in ARMS}
    lines.append(
        f"{f'all {flights:,} flights of the next days':<45}  {mean['champion']:>8.4f}"
        f"  {mean['uniform']:>7.4f}  {mean['never']:>15.4f}"
    )
    return "\n".join(lines)


def closing(warehouse: Warehouse) -> str:
    """Where to look next."""
    return f"""
Where to look next
  models    .venv/bin/mlflow ui --backend-store-uri {tracking_uri(warehouse.root)}
  tables    {warehouse.root}/: refreshes, sampled, selection_probabilities, forward_records, ...
  Airflow   docs/airflow.md: how the DAGs select_flights and train_flights are deployed
  again     .venv/bin/tenforward backfill --pipeline {PIPELINE} --start ... --end ..."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="make demo", description=__doc__)
    default = os.environ.get("TENFORWARD_WAREHOUSE", "warehouse")
    line.add_argument("--warehouse", default=default, help="where the tables go (%(default)s)")
    line.add_argument("--days", type=int, default=10, help="days of the backfill (%(default)s)")
    return line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; prints its table on stdout."""
    args = parser().parse_args(argv)
    configure_logging()
    began = time.monotonic()
    warehouse = Warehouse(args.warehouse, load_pipeline(PIPELINE))
    newest = START + timedelta(days=args.days)
    first = prepare(warehouse, newest)
    with step(f"backfill, {START} to {newest - timedelta(days=1)}"):
        trained = [day["train"] for day in backfill(warehouse, START, newest - timedelta(days=1))]
    with step(f"{newest} through the Airflow DAGs"), ThreadPoolExecutor(max_workers=1) as pool:
        rows = pool.submit(labelled_features, warehouse, LOGGED[0], newest + timedelta(days=1))
        run_newest_day(warehouse, newest)
    trained.append(train_day(warehouse, newest))  # done by the DAG: the registry answers
    with step("the uniform twin, and the next day of every day"):
        table = compare(warehouse, first, trained, rows.result())
    print(rendered(table))
    print(closing(warehouse))
    log.info("the demonstration took %.0f s", time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
