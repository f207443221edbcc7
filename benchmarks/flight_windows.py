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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import nn

from demo.next_day import labelled_features
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.ingest import ingest
from spark_jobs.selection import draw
from spark_jobs.selection.policy import Policy
from spark_jobs.storage.warehouse import Warehouse
from trainer.data.reader import Rows, rows_from
from trainer.fitting.trials import fit_rows
from trainer.models.export import Loaded
from trainer.models.model import model_card
from trainer.processes.threads import one_thread

PIPELINE = "pipelines/flights.toml"
FIRST, LEARNT, WINDOW, LAST = date(2013, 1, 1), 10, 28, date(2013, 8, 31)
TESTED = 7  # days after a window


def features(warehouse: str) -> pa.Table:
    """Every labelled flight of the days with its encoded features; kept in the warehouse."""
    kept = Path(warehouse) / "labelled_features.parquet"
    if not kept.exists():
        tables = Warehouse(warehouse, load_pipeline(PIPELINE))
        ingest(tables, FIRST, LAST)
        pq.write_table(labelled_features(tables, FIRST, LAST), kept)
    return pq.read_table(kept)


def between(table: pa.Table, first: date, days: int) -> pa.Table:
    """The flights of some days."""
    last = first + timedelta(days=days - 1)
    day = table["event_date"]
    inside = pc.and_(pc.greater_equal(day, pa.scalar(first)), pc.less_equal(day, pa.scalar(last)))
    return table.filter(inside)


def rows_of(pipeline: Pipeline, table: pa.Table) -> Rows:
    """As the trainer takes them; `weight` and `offset` where the table has them."""
    names = [*pipeline.features, "label", *({"weight", "offset"} & set(table.column_names))]
    return rows_from(
        model_card(pipeline, "none", 1).features,
        {name: table[name].to_numpy().astype(_type(name, table)) for name in names},
    )


def _type(name: str, table: pa.Table) -> type:
    return np.int32 if pa.types.is_integer(table[name].type) else np.float32


@one_thread()
def records(pipeline: Pipeline, model: nn.Module, table: pa.Table) -> pa.Table:
    """What the model's forward passes over the flights leave behind, with the labels."""
    rows = rows_of(pipeline, table)
    with torch.inference_mode():
        output, sketch = model(*(torch.from_numpy(part) for part in rows.inputs))
    segments = [
        [str(origin), str(carrier)]
        for origin, carrier in zip(
            table["origin"].to_pylist(), table["carrier"].to_pylist(), strict=True
        )
    ]
    return pa.table(
        {
            "instance_id": table["instance_id"],
            "prediction": output[:, 0].double().numpy(),
            "label": table["label"].cast("double"),
            "segments": pa.array(segments),
            "sketch": pa.array(list(sketch.numpy())),
        }
    )


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
    model, _ = fit_rows(pipeline, card, rows_of(pipeline, between(table, FIRST, LEARNT)), None)
    first = FIRST + timedelta(days=LEARNT)
    for number in range(count):
        flights = between(table, first, WINDOW)
        logged = records(pipeline, model, flights)
        parent = Loaded(card, {n: v.clone() for n, v in model.state_dict().items()})
        end = first + timedelta(days=WINDOW)
        yield Window(first, flights, logged, parent, rows_of(pipeline, between(table, end, TESTED)))
        chosen = drawn(pipeline, logged, flights, pipeline.selection.policy, number + 1)
        model, _ = fit_rows(pipeline, card, chosen, parent)
        first = end
