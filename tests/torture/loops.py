"""The loops that can be tortured, by name."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from reference.plain_tables import record_tables
from schemas.tables import instances
from tests.helpers import small_warehouse
from tests.helpers.flights_loop import PIPELINE
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from tests.torture import steps
from tests.torture.steps import Loop

# Long enough to be killed in: hundreds of steps of the optimizer, with a checkpoint now and then.
LONG = {
    r"^epochs = .*$": "epochs = 40\ncheckpoint_steps = 10",
    r"^batch_size = .*$": "batch_size = 64",
    r"^max_loss_increase = .*$": "max_loss_increase = 9.0",  # every model is the next one's parent
    r"^min_rows = .*$": "min_rows = 20",
}
SMALL = small_pipeline(
    training={"epochs": 60, "checkpoint_steps": 20}, gate={"max_loss_increase": 9.0}
)
ASKED = 600  # instances that the small loop's server is asked about


def prepare_flights(folder: Path) -> None:
    """A pipeline file, and nothing else: the tables are made by the first step."""
    text = Path(PIPELINE).read_text(encoding="utf-8")
    for line, other in LONG.items():
        text, count = re.subn(line, other, text, flags=re.MULTILINE)
        assert count == 1, line
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines" / "flights.toml").write_text(text, encoding="utf-8")


def prepare_small(folder: Path) -> None:
    """Two refreshes and a day of instances, by delta-rs."""
    (folder / "pipelines").mkdir(parents=True)
    root = folder / "warehouse"
    pipeline_file(folder / "pipelines", SMALL)
    write_refresh(root, SMALL, "first", random_rows(500, seed=1), day=1)
    write_refresh(root, SMALL, "second", random_rows(500, seed=2), day=2)
    record_tables(root)
    day = small_warehouse.DAYS[0]
    random = np.random.default_rng(3)
    rows = [
        {
            "instance_id": f"{day}/{number}",
            "event_time": small_warehouse.asked_at(day, number // 10),
            "event_date": day,
            "shop": f"shop {number % 7}",
            "slot": number % 8,
            "price": float(random.normal(50, 20)),
            "age": float(random.exponential(3)),
        }
        for number in range(ASKED)
    ]
    table = instances(SMALL)
    content = pa.Table.from_pylist(rows, table.arrow_schema)
    write_deltalake(str(root / table.name), content, partition_by=list(table.partition_by))


LOOPS = {
    "flights": Loop(
        prepare_flights,
        steps.flights("2013-01-01", "2013-01-03", "2013-01-04", "2013-01-05"),
    ),
    "small": Loop(prepare_small, steps.small(str(small_warehouse.DAYS[0]))),
}
