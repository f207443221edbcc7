"""A few real days of flights, ingested, learnt from and run through the loop once a session."""

import shutil
from datetime import date
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from schemas.pipeline import load_pipeline
from spark_jobs.backfill import backfill
from spark_jobs.bootstrap import bootstrap
from spark_jobs.ingest import ingest
from spark_jobs.warehouse import Warehouse
from trainer.train import train_refresh

PIPELINE = "pipelines/flights.toml"
INGESTED = date(2013, 1, 1), date(2013, 1, 9)
LEARNT = date(2013, 1, 1), date(2013, 1, 6)
LOOPED = date(2013, 1, 7), date(2013, 1, 8)


def run_loop(root: Path) -> dict[str, Any]:
    """Fill a warehouse: a first model on six days, then two days of the loop."""
    warehouse = Warehouse(str(root), load_pipeline(PIPELINE))
    ingest(warehouse, *INGESTED)
    first = bootstrap(warehouse, *LEARNT)
    trained = train_refresh(warehouse.pipeline, warehouse.root, first["refresh_id"])
    return {
        "warehouse": warehouse,
        "bootstrap": first,
        "trained": trained,
        "days": backfill(warehouse, *LOOPED),
    }


def copied(warehouse: Warehouse, folder: Path) -> Warehouse:
    """The tables in a folder of their own, to be changed; the registry stays behind."""
    ignored = shutil.ignore_patterns("mlartifacts", "mlflow.db")
    shutil.copytree(warehouse.root, folder, ignore=ignored, dirs_exist_ok=True)
    return Warehouse(str(folder), warehouse.pipeline)


def twin_of(warehouse: Warehouse, folder: Path) -> Warehouse:
    """The whole warehouse again, registry included."""
    shutil.copytree(warehouse.root, folder / "warehouse")
    return Warehouse(str(folder / "warehouse"), warehouse.pipeline)


def versions(warehouse: Warehouse) -> dict[str, int]:
    """The version of every table."""
    return {name: DeltaTable(warehouse.path(name)).version() for name in warehouse.tables}
