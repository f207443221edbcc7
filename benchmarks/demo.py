"""`make demo`: the loop on real flights, day after day, and what it gained.

A first model learns January 2013. Then every day is scored, selected and trained on: ten days by
the backfill, the newest one by the Airflow DAGs. At the end three models are compared on the day
after each training: the champion; the same model trained on uniform samples of the same size, with
versions and a gate of its own; and the first model, never retrained.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.airflow_home import airflow_home, run_dags
from benchmarks.next_day import Served, next_day_losses
from schemas.bundle import tracking_uri
from schemas.command import configure_logging
from schemas.pipeline import load_pipeline
from spark_jobs.backfill import backfill, days, train_day
from spark_jobs.bootstrap import bootstrap
from spark_jobs.ingest import ingest
from spark_jobs.select_sample import select_day
from spark_jobs.warehouse import Warehouse
from trainer.train import train_refresh

log = logging.getLogger("tenforward")

PIPELINE = "pipelines/flights.toml"
JANUARY = date(2013, 1, 1), date(2013, 1, 31)
TWIN = "flights_uniform"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    began = time.monotonic()
    log.info("%s ...", title)
    yield
    log.info("%s: %.0f s", title, time.monotonic() - began)


def prepare(warehouse: Warehouse, last: date) -> dict[str, Any]:
    """Fill the feature store and train the first model; the results of the trainings by model."""
    with step("flights, weather and planes into the feature store"):
        ingest(warehouse, JANUARY[0], last + timedelta(days=1), False)
    with step("first models, on January"):
        first = bootstrap(warehouse, *JANUARY)["refresh_id"]
        root, pipeline = warehouse.root, warehouse.pipeline
        return {
            "champion": train_refresh(pipeline, root, first),
            "uniform": train_refresh(pipeline, root, first, model_name=TWIN),
        }


def run_newest_day(warehouse: Warehouse, ds: date) -> None:
    """The newest day through the real DAGs: spark-submit twice, then training."""
    root = str(Path(warehouse.root).resolve())
    with tempfile.TemporaryDirectory() as folder:
        environment = airflow_home(Path(folder), TENFORWARD_WAREHOUSE=root)
        # Airflow's own log is long: it is shown only where a run fails.
        with (Path(folder) / "log").open("w+") as output:
            runs = [f"select_flights@{ds}", "train_flights"]
            results = run_dags(environment, runs, output)
            for result in results:
                log.info("%s: %s, %s", result["dag_id"], result["state"], result["tasks"])
            if any(result["state"] != "success" for result in results):
                output.seek(0)
                sys.exit(f"{output.read()}\nthe DAG run failed: {results[-1]['errors']}")


def uniform_twin(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    """The same day, records and budget, drawn uniformly; trained under a name of its own."""
    refresh = select_day(warehouse, ds)["refresh_id"]
    return train_refresh(warehouse.pipeline, warehouse.root, refresh, model_name=TWIN)


def serving(before: tuple[str, str], training: dict[str, Any]) -> tuple[str, str]:
    """(model, version) that serves after a training."""
    return (training["model"], str(training["version"])) if training["promoted"] else before


def table(rows: list[dict[str, Any]]) -> str:
    """The days as text; the last line weighs each day by its flights."""
    arms = ("champion", "uniform", "never")
    lines = [
        "day         candidates  drawn  mean-loss gap    next-day log loss",
        "                                              champion  uniform   never retrained",
    ]
    lines += [
        f"{row['ds']}  {row['candidates']:>10,}  {row['drawn']:>5,}  {row['mean_loss_gap']:>+13.4f}"
        f"  {row['champion']:>8.4f}  {row['uniform']:>7.4f}  {row['never']:>15.4f}"
        for row in rows
    ]
    flights = sum(row["rows"] for row in rows)
    mean = {arm: sum(row[arm] * row["rows"] for row in rows) / flights for arm in arms}
    lines.append(
        f"{'all ' + format(int(flights), ',') + ' flights':<45}  {mean['champion']:>8.4f}"
        f"  {mean['uniform']:>7.4f}  {mean['never']:>15.4f}"
    )
    return "\n".join(lines)


def closing(warehouse: Warehouse) -> str:
    """Where to look next."""
    root = Path(warehouse.root)
    return f"""
Where to look next
  models    .venv/bin/mlflow ui --backend-store-uri {tracking_uri(warehouse.root)}
  tables    {root}/: refreshes, sampled, selection_probabilities, forward_records, ...
            .venv/bin/python -c "from deltalake import DeltaTable; \\
                print(DeltaTable('{root}/refreshes').to_pandas().T)"
  Airflow   docs/airflow.md says how the DAGs select_flights and train_flights are deployed
  again     tenforward backfill --pipeline {PIPELINE} --start ... --end ... resumes from here"""


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
    warehouse = Warehouse(args.warehouse, load_pipeline(PIPELINE))
    uniform = Warehouse(args.warehouse, load_pipeline(PIPELINE, {"selection.policy": "uniform"}))
    start = JANUARY[1] + timedelta(days=1)
    newest = start + timedelta(days=args.days)
    first = prepare(warehouse, newest)
    with step(f"backfill, {start} to {newest - timedelta(days=1)}"):
        done = backfill(warehouse, start, newest - timedelta(days=1))
    with step(f"{newest} through the DAGs"):
        run_newest_day(warehouse, newest)
    with step("the uniform twin of every day"):
        twins = [uniform_twin(uniform, ds) for ds in days(start, newest)]
    trained = [day["train"] for day in done]
    trained.append(train_day(warehouse, newest))  # done by the DAG: the registry answers
    with step("the next day of every day"):
        rows = compare(warehouse, first, list(days(start, newest)), trained, twins)
    print(table(rows))
    print(closing(warehouse))
    return 0


def compare(
    warehouse: Warehouse,
    first: dict[str, Any],
    dates: list[date],
    trained: list[dict[str, Any]],
    twins: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """A row a day: the sample, and each model's log loss on the day after."""
    never = champion = (warehouse.pipeline.name, str(first["champion"]["version"]))
    uniform = (TWIN, str(first["uniform"]["version"]))
    served = []
    for ds, training, twin in zip(dates, trained, twins, strict=True):
        champion, uniform = serving(champion, training), serving(uniform, twin)
        served.append(Served(ds, {"champion": champion, "uniform": uniform, "never": never}))
    losses = next_day_losses(warehouse, served)
    results = [select_day(warehouse, ds) for ds in dates]  # done already: the manifest answers
    return [
        loss | {name: result[name] for name in ("ds", "candidates", "drawn", "mean_loss_gap")}
        for result, loss in zip(results, losses, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
