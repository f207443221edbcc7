"""Score: the champion answers for a day's instances and leaves forward records, exactly once.

    spark-submit --py-files dist/tenforward.zip spark_jobs/score.py \\
        --pipeline pipelines/flights.toml --ds 2013-02-01
"""

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from inference.champion import Champion, find_champion
from schemas.command import about, add_common_arguments, parse_date, require_over, run_command
from schemas.errors import ConfigurationError, NoDataError
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.point_in_time import with_features
from spark_jobs.rejects import record_fault, reject, rules_of
from spark_jobs.settle import settle
from spark_jobs.warehouse import Warehouse
from spark_jobs.worker_model import scorer_of

log = logging.getLogger("tenforward")

TRANSACTION = "score/"

_ANSWER = "instance_id STRING, prediction DOUBLE, logits ARRAY<FLOAT>, sketch ARRAY<FLOAT>"


def forward_passes(features: DataFrame, champion: Champion) -> DataFrame:
    """One forward pass a row: instance_id, prediction, logits, sketch."""
    bundle = {file.name: file.read_bytes() for file in champion.folder.iterdir() if file.is_file()}
    shared = features.sparkSession.sparkContext.broadcast(bundle)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = scorer_of(shared.value)
        for batch in batches:
            columns = {
                feature.name: batch.column(feature.name).to_numpy(zero_copy_only=False)
                for feature in scorer.card.features
            }
            scored = scorer.score(columns)
            many = scored.prediction.ndim == 2
            absent = pa.nulls(batch.num_rows, pa.float64())
            logits = pa.array(list(scored.prediction) if many else [None] * batch.num_rows)
            yield pa.RecordBatch.from_pydict(
                {
                    "instance_id": batch.column("instance_id"),
                    "prediction": absent if many else pa.array(scored.prediction),
                    "logits": logits.cast(pa.list_(pa.float32())),
                    "sketch": pa.array(list(scored.sketch), pa.list_(pa.float32())),
                }
            )

    return features.mapInArrow(run, _ANSWER)


def forward_records(
    instances: DataFrame, answers: DataFrame, pipeline: Pipeline, version: str
) -> DataFrame:
    """The records that the answers leave behind; the columns of the table."""
    empty = F.lit("")
    keys = [F.coalesce(F.col(name), empty) for name in pipeline.instances.segments]
    segments = F.array(*keys) if keys else F.array().cast("array<string>")
    asked = instances.select("instance_id", "event_time", "event_date", segments.alias("segments"))
    nothing = F.lit(None).cast("double")
    return asked.join(answers, "instance_id", "inner").withColumns(
        {
            "model_version": F.lit(version),
            "batch_id": F.concat(F.lit(TRANSACTION), F.col("event_date").cast("string")),
            "recorded_at": F.current_timestamp(),
            "label": nothing,
            "loss": nothing,
        }
    )


def score_transaction(ds: date) -> str:
    """The transaction, and the batch, of a day's scoring."""
    return f"{TRANSACTION}{ds}"


def score_day(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    """Score a day with the champion, unless that is done; the result of the command."""
    name = warehouse.pipeline.name
    about(pipeline=name, ds=ds)
    warehouse.require(*warehouse.tables)
    scored = score_days(warehouse, [ds])[0]
    about(pipeline=name, ds=ds, table_version=scored["version"])
    return scored


def score_days(warehouse: Warehouse, dates: Sequence[date]) -> list[dict[str, Any]]:
    """Score several days with one champion: one job over them all, one append a day."""
    done = {ds: warehouse.committed("forward_records", score_transaction(ds)) for ds in dates}
    todo = [ds for ds in dates if done[ds] is None]
    records = _records(warehouse, todo) if todo else None

    def finish(ds: date) -> dict[str, Any]:
        if records is None or done[ds] is not None:
            name = warehouse.pipeline.name
            return {"status": "already done", "pipeline": name, "ds": ds, "version": done[ds]}
        return _append(warehouse, ds, records)

    with ThreadPoolExecutor(max_workers=4) as pool:  # an append mostly waits for its commit
        return list(pool.map(finish, dates))


def _records(warehouse: Warehouse, dates: Sequence[date]) -> DataFrame:
    """Forward records of every instance of the days, computed. NoDataError for an empty day."""
    counts = warehouse.rows_by_date("instances")
    for ds in dates:
        if not counts.get(ds):
            raise NoDataError(
                f"--ds = {ds}: no instances on that UTC date. Remedy: ingest the day first, or"
                " correct the date."
            )
    champion = _champion(warehouse)
    asked = sum(counts[ds] for ds in dates)
    day = warehouse.read("instances").where(F.col("event_date").isin(*dates))
    instances = settle(day, asked)
    features = with_features(warehouse, instances, None).drop("event_time")
    answers = forward_passes(features, champion)
    records = forward_records(instances, answers, warehouse.pipeline, champion.version)
    return settle(records, asked)


def _append(warehouse: Warehouse, ds: date, records: DataFrame) -> dict[str, Any]:
    """Append one day's records, the unusable ones to the rejects."""
    day = records.where(F.col("event_date") == F.lit(ds))
    day = day.withColumn("fault", record_fault(rules_of(warehouse.pipeline)))
    counted = day.agg(F.count("*"), F.count("fault"), F.first("model_version")).first()
    total, bad, model = counted if counted is not None else (0, 0, "")
    if bad:  # before the good ones: their commit says that the day is done
        reject(warehouse, day.where("fault IS NOT NULL"), score_transaction(ds))
    good = day.where("fault IS NULL")
    version = warehouse.append_once(good, "forward_records", score_transaction(ds))
    return {
        "status": "done",
        "pipeline": warehouse.pipeline.name,
        "ds": ds,
        "model_version": model,
        "records": total - bad,
        "rejected": bad,
        "version": version,
    }


def _champion(warehouse: Warehouse) -> Champion:
    champion = find_champion(warehouse.pipeline.name, warehouse.root)
    if champion is None:
        raise ConfigurationError(
            f"model {warehouse.pipeline.name}: no champion in the registry. Remedy: run"
            " `tenforward bootstrap` and `tenforward train` first."
        )
    return champion


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward score", description="Score a day's instances with the champion."
    )
    add_common_arguments(line)
    line.add_argument("--ds", required=True, type=parse_date, help="UTC date of the instances")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> scoring."""
    args = parser().parse_args(argv)
    pipeline = load_pipeline(args.pipeline)
    require_over(args.ds)
    return score_day(Warehouse(args.warehouse, pipeline), args.ds)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
