"""Records to measure with: real flights' logits, losses and sketches, resampled to any number.

A logistic model of the year's flights (carrier, airport, hour, month) leaves a pool of 100,000 real
(logit, label, segment keys, sketch); every generated record is one of them, its logit jittered.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

from schemas.pipeline import Pipeline
from spark_jobs.selection.arrays import Array
from spark_jobs.sources.flights import LATE_MINUTES, data_dir, read_files
from spark_jobs.storage.creation import create_missing
from spark_jobs.storage.warehouse import Warehouse

POOL, SKETCH = 100_000, 16
FIRST_DAY, DAYS = date(2013, 2, 1), 10
KEYS = ["origin", "carrier", "hour", "month"]
SEGMENTS = ("origin", "carrier")  # with the sketch, 38 columns to calibrate on
WIDE_SEGMENTS = (*SEGMENTS, "dest", "month")  # some 150
WRITERS = "spark.sql.maxConcurrentOutputFileWriters"


def pool() -> dict[str, Array]:
    """Real records by column: logit, label, each segment key (n,), sketch (n, 16)."""
    flights = read_files(data_dir()).flights.dropna(subset=["arr_delay"])
    flights = flights.sample(POOL, random_state=1)
    inputs = OneHotEncoder(sparse_output=True).fit_transform(flights[KEYS].astype(str))
    label = (flights["arr_delay"] > LATE_MINUTES).to_numpy(np.float64)
    model = LogisticRegression(C=1.0, max_iter=200).fit(inputs, label)
    projection = np.random.default_rng(1).normal(size=(inputs.shape[1], SKETCH))
    return {
        "logit": model.decision_function(inputs),
        "label": label,
        **{key: flights[key].to_numpy(str) for key in WIDE_SEGMENTS},
        "sketch": (inputs @ projection).astype(np.float32),
    }


def records(n: int, first: int = 0) -> pa.Table:
    """n records with labels, as `draw` takes them."""
    return _table(pool(), np.arange(first, first + n), SEGMENTS)


def _table(source: dict[str, Array], number: Array, segments: tuple[str, ...]) -> pa.Table:
    random = np.random.default_rng(int(number[0]))
    row = random.integers(0, POOL, number.size)
    keys = np.stack([source[key][row] for key in segments], axis=1)
    ends = pa.array(np.arange(0, keys.size + 1, len(segments), dtype=np.int32))
    wide = pa.array(np.arange(0, SKETCH * number.size + 1, SKETCH, dtype=np.int32))
    return pa.table(
        {
            "instance_id": pa.array(np.char.add("flight-", number.astype(str))),
            "prediction": source["logit"][row] + random.normal(scale=0.05, size=number.size),
            "label": source["label"][row],
            "segments": pa.ListArray.from_arrays(ends, pa.array(keys.reshape(-1))),
            "sketch": pa.ListArray.from_arrays(wide, pa.array(source["sketch"][row].reshape(-1))),
        }
    )


def pipeline(segments: tuple[str, ...] = SEGMENTS) -> Pipeline:
    """The pipeline of these records."""
    keys = {key: {"type": "string"} for key in segments}
    return Pipeline.model_validate(
        {
            "name": "bench",
            "task": "binary",
            "holdout": 0.001,
            "instances": {
                "segments": list(segments),
                "columns": keys | {"distance": {"type": "float32"}},
            },
            "labels": {"label": "late", "columns": {"late": {"type": "float64"}}},
            "features": {
                "origin": {"kind": "category", "buckets": 64},
                "carrier": {"kind": "category", "buckets": 256},
                "distance": {"kind": "number"},
            },
            "selection": {"window_days": DAYS, "files": 16},
        }
    )


def fill(
    root: Path,
    rows: int,
    segments: tuple[str, ...] = SEGMENTS,
    numbers: DataFrame | None = None,
) -> Warehouse:
    """A warehouse with so many records, labels and instances over ten days; as it is if there.

    numbers: of the flights, by `id`; the first ones where none are given.
    """
    warehouse = Warehouse(str(root), pipeline(segments))
    base = root / "generated"
    if (root / "filled").exists():
        return warehouse
    create_missing(warehouse)
    spark = warehouse.spark
    # A task writes every day at once: all its files are open at once, and no row is sorted.
    before = str(spark.conf.get(WRITERS))
    spark.conf.set(WRITERS, DAYS)
    if numbers is None:
        numbers = spark.range(0, rows, 1, max(4, rows // 500_000))
    schema = (
        "instance_id string, prediction double, label double, segments array<string>,"
        " sketch array<float>, day int"
    )
    run = partial(_generated, source=pool(), segments=segments)
    generated = numbers.mapInArrow(run, schema).withColumns(
        {
            "event_date": F.date_add(F.lit(FIRST_DAY), F.col("day")),
            "event_time": F.timestamp_seconds(
                F.lit(_midnight().timestamp()) + F.col("day") * 86400 + 43200
            ),
        }
    )
    generated.write.parquet(str(base), mode="overwrite")
    _append(warehouse, spark.read.parquet(str(base)), segments)
    spark.conf.set(WRITERS, before)
    (root / "filled").touch()
    return warehouse


def _midnight() -> datetime:
    return datetime.combine(FIRST_DAY, datetime.min.time(), UTC)


def last_day() -> date:
    """The day whose selection sees every record."""
    return FIRST_DAY + timedelta(days=DAYS - 1)


def _generated(
    batches: Iterable[pa.RecordBatch], *, source: dict[str, Array], segments: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        number = batch.column(0).to_numpy()
        table = _table(source, number, segments)
        day = pa.array((number % DAYS).astype(np.int32))
        yield from table.append_column("day", day).to_batches()


def _append(warehouse: Warehouse, rows: DataFrame, segments: tuple[str, ...]) -> None:
    """One record, label and instance a row."""
    nothing = F.lit(None)
    frames = {
        "forward_records": rows.withColumns(
            {
                "model_version": F.concat(F.lit("v"), F.col("day").cast("string")),
                "batch_id": F.concat(F.lit("batch-"), F.col("day").cast("string")),
                "recorded_at": F.col("event_time"),
                "logits": nothing.cast("array<float>"),
                "statistics": nothing.cast("array<float>"),
                "label": nothing.cast("double"),
                "loss": nothing.cast("double"),
                "propensity": nothing.cast("double"),
            }
        ),
        "labels": rows.select(
            "instance_id",
            "event_date",
            F.col("event_time").alias("known_at"),
            F.col("label").alias("late"),
        ),
        "instances": rows.select(
            "instance_id",
            "event_time",
            "event_date",
            *(F.col("segments")[place].alias(key) for place, key in enumerate(segments)),
            F.lit(1000.0).cast("float").alias("distance"),
        ),
    }
    for name, frame in frames.items():
        columns = warehouse.tables[name].column_names
        frame.select(*columns).write.format("delta").mode("append").save(warehouse.path(name))
