"""A few real days of flights, ingested, learnt from and run through the loop once for all tests."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from deltalake import DeltaTable as Snapshot

from schemas.manifests import Manifest, find_manifest
from schemas.pipeline import load_pipeline
from spark_jobs.backfill import backfill
from spark_jobs.bootstrap import bootstrap
from spark_jobs.ingest import ingest
from spark_jobs.storage.warehouse import Warehouse
from trainer.train import train_refresh

ROOT = Path(__file__).parents[2]
# What ships refreshes weekly and spends by forward passes; two days of a loop are too few for that.
DAILY = {
    r"^budget = .*$": "budget = 0.1",
    r"^epochs = .*$": "epochs = 8",
    r"^batch_size = .*$": "batch_size = 256",
    r"^pull = .*$": "pull = 0.01",
    r"^days = .*\n": "",
}


def daily_pipeline() -> str:
    """A copy of the shipped pipeline file with a refresh a day of a tenth of the window, alone in a
    folder. Every process writes the same to the same place."""
    text = (ROOT / "pipelines" / "flights.toml").read_text(encoding="utf-8")
    for line, other in DAILY.items():
        text, count = re.subn(line, other, text, flags=re.MULTILINE)
        assert count == 1, f"{line}: {count} times in pipelines/flights.toml"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"tenforward-{os.getuid()}-{digest}"
    folder.mkdir(exist_ok=True)
    file = folder / "flights.toml"
    if not file.exists():
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False) as part:
            part.write(text)
        Path(part.name).replace(file)
    return str(file)


PIPELINE = daily_pipeline()
INGESTED = date(2013, 1, 1), date(2013, 1, 9)
LEARNT = date(2013, 1, 1), date(2013, 1, 6)
LOOPED = date(2013, 1, 7), date(2013, 1, 8)


def loop_of_all(folder: Path, own: Path) -> dict[str, Any]:
    """What the loop told, as JSON, and in the folder `own` a copy of its warehouse.

    The first process that asks runs it in the folder, which all of them share; the others wait.
    """
    folder.mkdir(exist_ok=True)
    told, original = folder / "told.json", Warehouse(str(folder / "run"), load_pipeline(PIPELINE))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            told.write_text(json.dumps(run_loop(original), default=str))
    warehouse = twin_of(original, own)
    text = told.read_text().replace(original.root, warehouse.root)
    return json.loads(text) | {"warehouse": warehouse}


def run_loop(warehouse: Warehouse) -> dict[str, Any]:
    """Fill a warehouse with a first model on six days and two days of the loop; what each told."""
    ingest(warehouse, *INGESTED)
    first = bootstrap(warehouse, *LEARNT)
    trained = train_refresh(warehouse.pipeline, warehouse.root, first["refresh_id"])
    return {"bootstrap": first, "trained": trained, "days": backfill(warehouse, *LOOPED)}


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
    return {name: Snapshot(warehouse.path(name)).version() for name in warehouse.tables}


def manifest_of(warehouse: Warehouse, refresh_id: str) -> Manifest:
    """The manifest of a refresh that is there."""
    found = find_manifest(warehouse.path("refreshes"), refresh_id)
    assert found is not None, f"no manifest of {refresh_id}"
    return found
