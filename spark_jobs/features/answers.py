"""A registered model's answers to rows of features, on the workers."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame

from inference.outputs import prediction_columns
from inference.registered import RegisteredVersion
from inference.worker_model import scorer_of
from schemas.inputs import feature_column
from spark_jobs.storage.python_tasks import over_batches

_ANSWER = (
    "instance_id STRING, prediction DOUBLE, logits ARRAY<FLOAT>, statistics ARRAY<FLOAT>,"
    " sketch ARRAY<FLOAT>"
)


def forward_passes(features: DataFrame, model: RegisteredVersion) -> DataFrame:
    """One forward pass a row: instance_id, prediction, logits, statistics, sketch."""
    bundle = {file.name: file.read_bytes() for file in model.folder.iterdir() if file.is_file()}
    shared = features.sparkSession.sparkContext.broadcast(bundle)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = scorer_of(shared.value)
        for batch in batches:
            columns = {
                feature.name: feature_column(feature, batch.column(feature.name))
                for feature in scorer.card.features
            }
            scored = scorer.score(columns)
            yield pa.RecordBatch.from_pydict(
                {
                    "instance_id": batch.column("instance_id"),
                    **prediction_columns(scored.prediction),
                    "sketch": pa.array(list(scored.sketch), pa.list_(pa.float32())),
                }
            )

    return over_batches(features, run, _ANSWER)
