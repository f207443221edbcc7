"""How well each day's models would have answered the next day: log loss on labelled flights."""

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from inference.champion import find_version
from inference.scorer import load_scorer
from spark_jobs.point_in_time import with_features
from spark_jobs.selection.records import loss
from spark_jobs.warehouse import Warehouse


class Served(NamedTuple):
    """The models after a day's training, by registered name and version."""

    ds: date
    versions: dict[str, tuple[str, str]]  # arm -> (model name, version)


def labelled_features(warehouse: Warehouse, first: date, last: date) -> pa.Table:
    """Encoded features, event date and label of every labelled instance of the days."""
    instances = warehouse.read("instances").where(F.col("event_date").between(first, last))
    label = F.col(warehouse.pipeline.labels.label).alias("label")
    labels = warehouse.read("labels").select("instance_id", "event_date", label)
    features = with_features(warehouse, instances, None)
    return features.join(labels, "instance_id", "inner").toArrow()


def next_day_losses(warehouse: Warehouse, served: list[Served]) -> list[dict[str, float]]:
    """For each day, the mean log loss of each arm's model on the following day, and its rows."""
    one = timedelta(days=1)
    rows = labelled_features(warehouse, served[0].ds + one, served[-1].ds + one)
    return [_losses(warehouse, rows, day) for day in served]


def _losses(warehouse: Warehouse, rows: pa.Table, day: Served) -> dict[str, float]:
    flights = rows.filter(pc.equal(rows["event_date"], pa.scalar(day.ds + timedelta(days=1))))
    label = flights["label"].to_numpy()
    result: dict[str, float] = {"rows": float(label.size)}
    for arm, (name, version) in day.versions.items():
        scorer = load_scorer(find_version(name, version, warehouse.root).folder)
        columns = {f.name: flights[f.name].to_numpy() for f in scorer.card.features}
        prediction = scorer.score(columns).prediction
        result[arm] = float(np.mean(loss(warehouse.pipeline.task, prediction, label)))
    return result
