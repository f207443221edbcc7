"""Windows of real flights in memory: drawn from by `draw`, fitted by the trainer's own code.

One Spark job joins the features of all days, once, into a file; after that no table is needed. A
window is 28 days, the next one follows it; its parent is the model of the window before, whose
answers are the window's forward records, and the first parent saw the ten days before the first
window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from demo.stream import between, labelled, records, rows_of, stream
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.ingest import ingest
from spark_jobs.selection import draw
from spark_jobs.selection.policy import Policy
from spark_jobs.storage.warehouse import Warehouse
from trainer.data.reader import Rows
from trainer.fitting.trials import fit_rows
from trainer.models.export import Loaded
from trainer.models.model import model_card

PIPELINE = "pipelines/flights.toml"
FIRST, LEARNT, WINDOW, LAST = date(2013, 1, 1), 10, 28, date(2013, 8, 31)
TESTED = 7  # days after a window
# A tenth of each window for eight epochs, with which docs/training.md was measured; the pipeline
# file spends by forward passes, of which a window in memory knows nothing.
SETTINGS = {
    "selection.budget": 0.1,
    "training.epochs": 8,
    "training.batch_size": 256,
    "training.learning_rate": 0.003,
    "training.pull": 0.01,
}


def windows_pipeline() -> Pipeline:
    """The flights' pipeline with the settings above."""
    return load_pipeline(PIPELINE, SETTINGS)


def days_from(table: pa.Table, first: date, days: int) -> pa.Table:
    """The flights of so many days."""
    return between(table, first, first + timedelta(days=days - 1))


def features(warehouse: str) -> pa.Table:
    """Every labelled flight of the days with its encoded features; kept in the warehouse."""
    kept = Path(warehouse) / "labelled_flights.parquet"
    if not kept.exists():
        tables = Warehouse(warehouse, windows_pipeline())
        ingest(tables, FIRST, LAST)
        pq.write_table(labelled(stream(tables, FIRST, LAST)), kept)
    return pq.read_table(kept)


def drawn(
    pipeline: Pipeline, logged: pa.Table, table: pa.Table, policy: str | Policy, seed: int
) -> Rows:
    """The rows that a policy draws at the pipeline's budget."""
    chosen = draw(logged, policy=policy, budget=pipeline.selection.budget, seed=seed)
    table = table.append_column("weight", chosen["weight"].cast("float"))
    table = table.append_column("offset", chosen["offset"].cast("float"))
    return rows_of(pipeline, table.filter(chosen["drawn"]))


@dataclass(frozen=True)
class Window:
    """One window: its flights, what the parent answered, and the flights after it."""

    first: date
    flights: pa.Table
    logged: pa.Table
    parent: Loaded
    after: Rows


def walk(pipeline: Pipeline, table: pa.Table, count: int) -> Iterator[Window]:
    """The windows, one after the other."""
    card = model_card(pipeline, "none", 1)
    model, _ = fit_rows(pipeline, card, rows_of(pipeline, days_from(table, FIRST, LEARNT)), None)
    first = FIRST + timedelta(days=LEARNT)
    for number in range(count):
        flights = days_from(table, first, WINDOW)
        logged = records(pipeline, model, flights)
        parent = Loaded(card, {n: v.clone() for n, v in model.state_dict().items()})
        end = first + timedelta(days=WINDOW)
        after = rows_of(pipeline, days_from(table, end, TESTED))
        yield Window(first, flights, logged, parent, after)
        chosen = drawn(pipeline, logged, flights, pipeline.selection.policy, number + 1)
        model, _ = fit_rows(pipeline, card, chosen, parent)
        first = end
