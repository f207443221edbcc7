"""`make demo`: weekly refreshes of real flights at one backward for ten forward passes.

A first model learns the first days of January 2013 and answers for the week after, so that there
are records to choose from. Then every week to the end of March is scored, selected and trained on,
by the backfill as `[schedule]` says; the last refresh is made by the Airflow DAGs. At the end every
week stands with what it spent and with the log loss of the week after: of the champion, and of its
twins, closed loops of their own that draw uniformly at the same backward passes, or take all rows
at ten times as many. A second run finds the refreshes done and prints the same table.
"""

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from demo.airflow_home import airflow_home, run_dags
from demo.stream import stream
from demo.table import Outcome, first_model, ledger_lines, rendered, served
from demo.twins import WEEK, Arm, Week, arms, closed_loop
from schemas.counted import Account
from schemas.log import configure_logging, log
from schemas.manifests import Manifest, find_manifest
from schemas.pipeline import load_pipeline
from schemas.registry import tracking_uri
from schemas.sections.budget import parse_budget
from spark_jobs.backfill import backfill, train_day
from spark_jobs.bootstrap import bootstrap
from spark_jobs.days.planned import days
from spark_jobs.ingest import ingest
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.score import score_days
from spark_jobs.storage.warehouse import Warehouse
from trainer.fitting.meter import note
from trainer.train import train_refresh

PIPELINE = "pipelines/flights.toml"
FIRST = date(2013, 1, 1), date(2013, 1, 13)
START = date(2013, 1, 20)  # of the first refresh; the week up to it is answered by the first model
WEEKS, SEEDS = 10, 12


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    began = time.monotonic()
    log.info("%s ...", title)
    yield
    log.info("%s: %.0f s", title, time.monotonic() - began)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what this thread says out of the log: hundreds of fits have a line each."""
    here = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    log.addFilter(of_others)
    try:
        yield
    finally:
        log.removeFilter(of_others)


def week_to(ds: date) -> list[date]:
    """The seven days that end with `ds`."""
    return list(days(ds - WEEK + timedelta(days=1), ds))


def prepare(warehouse: Warehouse, last: date) -> str:
    """Fill the feature store, train the first model, let it answer; its version.

    Flights are those up to `last`; what the first model costs is outside the ratio.
    """
    with step("flights, weather and planes into the feature store"):
        ingest(warehouse, FIRST[0], last)
    with step(f"the first model, on {FIRST[0]} to {FIRST[1]}"):
        refresh = bootstrap(warehouse, *FIRST)["refresh_id"]
        first = train_refresh(warehouse.pipeline, warehouse.root, refresh)
    with step(f"its answers, {week_to(START)[0]} to {START}"):
        score_days(warehouse, week_to(START))
    return str(first["version"])


def refresh_weekly(warehouse: Warehouse, ends: Sequence[date]) -> list[dict[str, Any]]:
    """Score, select and train week by week; what each training told.

    Nothing but a training changes who serves, so a week is answered by one job over its days, and
    the backfill finds them scored.
    """
    trained = []
    for ds in ends:
        score_days(warehouse, week_to(ds))
        done = backfill(warehouse, week_to(ds)[0] if ds > START else ds, ds)
        trained.append(done[-1]["train"])
    return trained


def run_newest_day(warehouse: Warehouse, ds: date) -> None:
    """The newest refresh through the real DAGs: spark-submit twice, then training."""
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


def run_twins(
    warehouse: Warehouse, first: str, ends: Sequence[date], seeds: int
) -> tuple[pa.Table, dict[str, list[list[Week]]]]:
    """The flights, and every twin's weeks by arm and seed; the ledger has what they spend."""
    flights = stream(warehouse, FIRST[0], ends[-1] + WEEK)
    pipeline, begun = warehouse.pipeline, first_model(warehouse, first)
    found = arms(pipeline, parse_budget(pipeline.selection.budget).amount)

    def loops(arm: Arm) -> list[list[Week]]:
        counted = range(seeds if arm.policy else 1)
        return [closed_loop(pipeline, flights, arm, begun, ends, seed) for seed in counted]

    with quiet():
        twins = {name: loops(arm) for name, arm in found.items()}
    every = [weeks for of_seeds in twins.values() for weeks in of_seeds]
    for ds, *weeks in zip(ends, *every, strict=True):
        spent = sum(week.backward_passes for week in weeks)
        note(warehouse.root, Account.new(refresh_id(pipeline, ds), str(ds), "twin"), spent)
    return flights, twins


def manifest_of(warehouse: Warehouse, ds: date) -> Manifest:
    """The refresh of a day, which is there."""
    found = find_manifest(warehouse.path("refreshes"), refresh_id(warehouse.pipeline, ds))
    if found is None:
        sys.exit(f"{ds}: no refresh. Remedy: see the log above, then repeat `make demo`.")
    return found


def serving_after(first: str, trained: Sequence[dict[str, Any]]) -> list[str]:
    """The version that served after each training."""
    champions = [first]
    for training in trained:
        champions.append(str(training["version"]) if training["promoted"] else champions[-1])
    return champions[1:]


def closing(warehouse: Warehouse, next_week: date) -> str:
    """Where to look next."""
    span = f"--start {week_to(next_week)[0]} --end {next_week}"
    return f"""
Where to look next
  models    .venv/bin/mlflow ui --backend-store-uri {tracking_uri(warehouse.root)}
  tables    {warehouse.root}/: refreshes, sampled, selection_probabilities, backward_passes, ...
  Airflow   docs/airflow.md: how the DAGs select_flights and train_flights are deployed
  next week .venv/bin/tenforward backfill --pipeline {PIPELINE} {span}"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="make demo", description=__doc__)
    default = os.environ.get("TENFORWARD_WAREHOUSE", "warehouse")
    line.add_argument("--warehouse", default=default, help="where the tables go (%(default)s)")
    line.add_argument("--weeks", type=int, default=WEEKS, help="weekly refreshes (%(default)s)")
    line.add_argument("--seeds", type=int, default=SEEDS, help="of the twins (%(default)s)")
    return line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; prints its table on stdout."""
    args = parser().parse_args(argv)
    configure_logging()
    began = time.monotonic()
    warehouse = Warehouse(args.warehouse, load_pipeline(PIPELINE), lasts=True)
    ends = [START + WEEK * number for number in range(args.weeks)]
    first = prepare(warehouse, ends[-1] + WEEK)
    with step(f"weekly refreshes, {START} to {ends[-2]}"):
        trained = refresh_weekly(warehouse, ends[:-1])
    with step(f"{ends[-1]} through the Airflow DAGs, and the twins meanwhile"):
        score_days(warehouse, week_to(ends[-1])[:-1])  # the DAG scores the last day itself
        with ThreadPoolExecutor(max_workers=1) as pool:
            twins = pool.submit(run_twins, warehouse, first, ends, args.seeds)
            run_newest_day(warehouse, ends[-1])
            flights, of_twins = twins.result()
    trained.append(train_day(warehouse, ends[-1]))  # done by the DAG: the registry answers
    refreshes = [manifest_of(warehouse, ds) for ds in ends]
    versions = {"champion": serving_after(first, trained), "never": [first] * len(ends)}
    product = {name: served(warehouse, flights, refreshes, of) for name, of in versions.items()}
    print(rendered(Outcome(warehouse.pipeline.selection.policy, product, of_twins)))
    print(ledger_lines(warehouse, refreshes))
    print(closing(warehouse, ends[-1] + WEEK))
    log.info("the demonstration took %.0f s", time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
