"""A pipeline whose file changes: a small warehouse that has run its loop for two days, and what the
file says afterwards."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import tenforward
from schemas.pipeline import Pipeline
from spark_jobs.bootstrap import bootstrap
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.storage.creation import create_missing
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse
from trainer.train import train_refresh

DAYS = small_warehouse.DAYS
A_DAY = 100
Change = Callable[[dict[str, Any]], object]

SECTIONS: dict[str, Any] = {
    "holdout": 0.3,
    "features": {
        "shop": {"kind": "category", "buckets": 8},
        "price": {"kind": "number"},
        "width": {"kind": "number", "source": "shelves.width", "default": 1.0},
    },
    "model": {"hidden": [8, 4]},
    "training": {"epochs": 1, "batch_size": 32, "pull": 0.0},
    "gate": {"min_rows": 5, "max_loss_increase": 10.0},
    "selection": {"window_days": 3, "budget": 0.5},
}


def of(change: Change | None = None) -> Pipeline:
    """The pipeline, or what a change makes of its file."""
    whole = small_warehouse.pipeline(**SECTIONS).model_dump(exclude_unset=True)
    if change is not None:
        change(whole)
    return Pipeline.model_validate(whole)


def written(pipeline: Pipeline, folder: Path) -> str:
    """The file of a pipeline."""
    file = folder / f"{pipeline.name}.toml"
    file.write_text(as_toml(pipeline.model_dump(exclude_unset=True, exclude_none=True)))
    return str(file)


def as_toml(whole: dict[str, Any]) -> str:
    """The content of a file; inline tables below the first level."""
    plain = [f"{key} = {_value(v)}" for key, v in whole.items() if not isinstance(v, dict)]
    tables = [
        "\n".join([f"[{name}]", *(f"{key} = {_value(v)}" for key, v in table.items())])
        for name, table in whole.items()
        if isinstance(table, dict)
    ]
    return "\n".join([*plain, *tables, ""])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def looped(root: Path) -> Warehouse:
    """A warehouse with a first model of its first day, scored and selected on the second."""
    warehouse = Warehouse(str(root), of())
    create_missing(warehouse)
    asked = small_warehouse.instances(count=A_DAY)
    rows = {
        "instances": asked,
        "labels": small_warehouse.labels(asked),
        "features/shelves": small_warehouse.shelves(),
    }
    for name, some in rows.items():
        small_warehouse.append(warehouse, name, some)
    first = bootstrap(warehouse, DAYS[0], DAYS[0])
    train_refresh(warehouse.pipeline, warehouse.root, first["refresh_id"])
    score_day(warehouse, DAYS[1])
    select_day(warehouse, DAYS[1])
    return warehouse


def went_on(warehouse: Warehouse, ds: date = DAYS[2]) -> dict[str, Any]:
    """A day of the loop; what each step told."""
    scored = score_day(warehouse, ds)
    selected = select_day(warehouse, ds)
    trained = train_refresh(warehouse.pipeline, warehouse.root, selected["refresh_id"])
    return {"score": scored, "select": selected, "train": trained}


def told(command: str, file: str, root: str, *more: str) -> int:
    """The exit code of a command."""
    return tenforward.main([command, "--pipeline", file, "--warehouse", root, *more])
