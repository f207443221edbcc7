"""What a day's models would have answered the next day, against a uniform sample's and the first's.

The uniform twin is drawn by `draw` from the same candidates with the same budget, fitted with the
same code from its own predecessor, and serves only if it passes the same gate on the same held-out
rows. It writes no tables: features of all days are joined once.
"""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import functions as F
from torch import nn

from inference.registered import find_version
from inference.scorer import load_scorer
from spark_jobs.features.point_in_time import with_features
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.selection import draw
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.tasks import loss
from spark_jobs.storage.warehouse import Warehouse
from trainer.data.reader import Rows, read_holdout, rows_from
from trainer.data.refresh import open_refresh
from trainer.fitting.trials import fit_rows
from trainer.models.export import Loaded, load_bundle, predict
from trainer.promotion.gate import decide
from trainer.promotion.judge import judge

Answer = Callable[[pa.Table], Array]


def labelled_features(warehouse: Warehouse, first: date, last: date) -> pa.Table:
    """instance_id, event_date, label and encoded features of every labelled instance."""
    warehouse.spark.sparkContext.setLogLevel("ERROR")  # also starts the session, for `F`
    between = F.col("event_date").between(F.lit(first), F.lit(last))
    label = F.col(warehouse.pipeline.labels.label).cast("float").alias("label")
    labels = warehouse.read("labels").where(between).select("instance_id", "event_date", label)
    features = with_features(warehouse, warehouse.read("instances").where(between))
    return features.join(labels, "instance_id", "inner").toArrow()


def registered(warehouse: Warehouse, version: str) -> Answer:
    """The predictions of a registered version of the pipeline's model."""
    scorer = load_scorer(find_version(warehouse.pipeline.name, version, warehouse.root).folder)
    names = [feature.name for feature in scorer.card.features]
    return lambda rows: scorer.score({name: rows[name].to_numpy() for name in names}).prediction


class UniformTwin:
    """A line of models of its own, fitted on uniform samples, beginning with the first model."""

    def __init__(self, warehouse: Warehouse, first_version: str) -> None:
        self.warehouse = warehouse
        folder = find_version(warehouse.pipeline.name, first_version, warehouse.root).folder
        self.serving: Loaded = load_bundle(Path(folder))

    def learn(self, ds: date, rows: pa.Table) -> Answer:
        """Fit on a uniform sample of a day's candidates; the model that serves afterwards."""
        pipeline, card = self.warehouse.pipeline, self.serving.card
        refresh = open_refresh(self.warehouse.root, pipeline, refresh_id(pipeline, ds))
        model, _ = fit_rows(pipeline, card, self._rows(self._sample(ds, rows)), self.serving)
        sets = judge(pipeline, model, self.serving.model(), read_holdout(pipeline, refresh))
        if decide(sets, pipeline.gate).passed:
            self.serving = Loaded(card, model.state_dict())
        serving = self.serving.model()
        return lambda asked: self._answer(serving, asked)

    def _sample(self, ds: date, rows: pa.Table) -> pa.Table:
        """Features of a uniform sample of the day's candidates, of the budget's size."""
        pipeline, name = self.warehouse.pipeline, refresh_id(self.warehouse.pipeline, ds)
        folder = self.warehouse.path("selection_probabilities")
        paths = [
            f"{folder}/{file['path']}"
            for file in self.warehouse.files("selection_probabilities")
            if file["partition"]["refresh_id"] == name
        ]
        columns = ["instance_id", "label"]
        candidates = pq.read_table(paths, columns=columns, partitioning=None)
        # A uniform draw looks at no prediction.
        unscored = candidates.append_column("prediction", pa.array(np.zeros(len(candidates))))
        budget = pipeline.selection.budget
        drawn = draw(unscored, policy="uniform", budget=budget, seed=pipeline.selection.seed)
        chosen = drawn.filter(drawn["drawn"])["instance_id"]
        return rows.filter(pc.is_in(rows["instance_id"], value_set=chosen.combine_chunks()))

    def _rows(self, table: pa.Table) -> Rows:
        features = self.serving.card.features
        names = [*(feature.name for feature in features), "label"]
        return rows_from(features, {name: table[name].to_numpy() for name in names})

    def _answer(self, model: nn.Module, asked: pa.Table) -> Array:
        return predict(model, self._rows(asked))[:, 0].astype(np.float64)


def next_day(rows: pa.Table, task: str, ds: date, arms: dict[str, Answer]) -> dict[str, float]:
    """Mean log loss of each arm on the day after `ds`, and the number of flights."""
    asked = rows.filter(pc.equal(rows["event_date"], pa.scalar(ds + timedelta(days=1))))
    label = asked["label"].to_numpy().astype(np.float64)
    losses = {arm: float(loss(task, answer(asked), label).mean()) for arm, answer in arms.items()}
    return losses | {"flights": asked.num_rows}
