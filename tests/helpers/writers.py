"""Writers of forward records, as processes of their own and as a table.

`python -m tests.helpers.writers spark ROOT NAME NAME` writes with Spark, under two names at once;
`python -m tests.helpers.writers recorder ROOT NAME` with the recorder.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pyarrow as pa

from inference.recorder import ForwardRecorder
from schemas.pipeline import load_pipeline
from schemas.tables import forward_records
from spark_jobs.storage.warehouse import Warehouse

PIPELINE = "pipelines/flights.toml"  # not from flights_loop, which imports the whole loop
DAY = date(2013, 1, 9)
NOON = datetime(2013, 1, 9, 12, tzinfo=UTC)
COMMITS, ROWS = 5, 3  # of each writer, and of each commit


def records(writer: str, count: int, day: date = DAY) -> pa.Table:
    """Records of a day as somebody's model server writes them."""
    moment = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    row = {
        "event_time": moment, "event_date": day, "model_version": "1", "batch_id": writer,
        "recorded_at": moment, "prediction": 0.5, "logits": None, "label": None, "loss": None,
        "segments": ["JFK", "AA"], "sketch": [0.0] * 16,
    }  # fmt: skip
    rows = [{"instance_id": f"{writer}/{number}", **row} for number in range(count)]
    return pa.Table.from_pylist(rows, schema=forward_records().arrow_schema)


def write_with_spark(root: str, *names: str) -> None:
    """The commits of each name, at the same time."""
    warehouse = Warehouse(root, load_pipeline(PIPELINE))
    spark = warehouse.spark

    def write(name: str) -> None:
        for commit in range(COMMITS):
            batch = f"spark-{name}-{commit}"
            rows = spark.createDataFrame(records(batch, ROWS))
            for _ in range(2):  # a retry of a commit that went through
                warehouse.append_once(rows, "forward_records", batch)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(write, names))


def write_with_recorder(root: str, name: str) -> None:
    """The commits of one model server."""
    journal = f"{root}/journal-{name}"
    with ForwardRecorder(
        PIPELINE, warehouse=root, model_version="1", file_bytes=100, journal=journal
    ) as recorder:
        for commit in range(COMMITS):
            ids = [f"server-{name}-{commit}/{number}" for number in range(ROWS)]
            keys = {"origin": ["JFK"] * ROWS, "carrier": ["AA"] * ROWS}
            recorder.record(ids, [NOON] * ROWS, [0.5] * ROWS, segments=keys)


if __name__ == "__main__":
    writer = {"spark": write_with_spark, "recorder": write_with_recorder}[sys.argv[1]]
    writer(*sys.argv[2:])
