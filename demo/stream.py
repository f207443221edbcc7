"""The flights of a warehouse in memory, as the loop sees them: joined once, by one Spark job."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from pyspark.sql import functions as F
from torch import nn

from schemas.inputs import ModelInput, feature_column, model_inputs
from schemas.pipeline import Pipeline
from spark_jobs.candidates.narrow import held_out
from spark_jobs.features.point_in_time import with_features
from spark_jobs.features.segments import segment_keys
from spark_jobs.storage.warehouse import Warehouse
from trainer.data.reader import Rows, rows_from
from trainer.processes.threads import one_thread


def stream(warehouse: Warehouse, first: date, last: date) -> pa.Table:
    """Every instance of the days: instance_id, event_date, segments, held_out, encoded features,
    and label and known_at, null where no label came. One label an instance at most."""
    warehouse.spark.sparkContext.setLogLevel("ERROR")  # also starts the session, for `F`
    pipeline, between = warehouse.pipeline, F.col("event_date").between(F.lit(first), F.lit(last))
    label = F.col(pipeline.labels.label).cast("float").alias("label")
    labels = warehouse.read("labels").where(between).select("instance_id", "known_at", label)
    instances = warehouse.read("instances").where(between)
    asked = instances.select(
        "instance_id",
        "event_date",
        segment_keys(pipeline.instances.segments).alias("segments"),
        held_out(pipeline.holdout).alias("held_out"),
    )
    features = with_features(warehouse, instances).drop("event_time")
    joined = asked.join(features, "instance_id").join(labels, "instance_id", "left")
    return joined.toArrow().sort_by("instance_id")  # Spark gives them in any order


def labelled(flights: pa.Table) -> pa.Table:
    """The flights whose label came at some time."""
    return flights.filter(pc.is_valid(flights["label"]))


def between(flights: pa.Table, first: date, last: date) -> pa.Table:
    """The flights of some days, both ends included."""
    day = flights["event_date"]
    inside = pc.and_(pc.greater_equal(day, pa.scalar(first)), pc.less_equal(day, pa.scalar(last)))
    return flights.filter(inside)


def rows_of(pipeline: Pipeline, flights: pa.Table) -> Rows:
    """As the trainer takes them; `weight` and `offset` where the table has them."""
    features = model_inputs(pipeline)
    columns = {one.name: _column(one, flights) for one in features}
    for name in ("label", *({"weight", "offset"} & set(flights.column_names))):
        columns[name] = flights[name].to_numpy().astype(np.float32)
    return rows_from(features, columns)


def _column(feature: ModelInput, flights: pa.Table) -> NDArray[Any]:
    return feature_column(feature, flights[feature.name].combine_chunks())


@one_thread()
def records(pipeline: Pipeline, model: nn.Module, flights: pa.Table) -> pa.Table:
    """What the model's forward passes over the flights leave behind, with the labels."""
    rows = rows_of(pipeline, flights)
    with torch.inference_mode():
        output, sketch = model(*(torch.from_numpy(part) for part in rows.inputs))
    ends = np.arange(0, sketch.numel() + 1, sketch.shape[1], dtype=np.int32)
    return pa.table(
        {
            "instance_id": flights["instance_id"],
            "prediction": output[:, 0].double().numpy(),
            "label": flights["label"].cast("double"),
            "segments": flights["segments"],
            "sketch": pa.ListArray.from_arrays(ends, sketch.numpy().reshape(-1)),
        }
    )
