"""A client that asks the example server about every flight of a day.

python -m demo.example_server --pipeline pipelines/flights.toml --warehouse warehouse &
python -m demo.online_day --warehouse warehouse --ds 2013-02-12
"""

import argparse
import time
from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx
from pyspark.sql import functions as F

from schemas.pipeline import load_pipeline
from spark_jobs.features.point_in_time import as_of_joins, columns_used
from spark_jobs.storage.warehouse import Warehouse


def requests(warehouse: Warehouse, ds: date, size: int) -> Iterator[dict[str, Any]]:
    """The day's instances with their features as the tables hold them, in requests of `size`: what
    an online store would know of each at its event time."""
    pipeline, keys = warehouse.pipeline, warehouse.pipeline.instances.segments
    instances = warehouse.read("instances").where(F.col("event_date") == F.lit(ds))
    used = columns_used(pipeline)
    views = []
    for view in (one for one in pipeline.feature_views if one.name in used):
        times = (view.timestamp_field, view.created_timestamp_column)
        rows = warehouse.read(f"features/{view.name}")
        views.append((view, rows.select(*view.entity, *times, *sorted(used[view.name]))))
    sources = {name: ".".join(pipeline.feature_source(name)) for name in pipeline.features}
    asked = (
        as_of_joins(instances, views)
        .orderBy("instances.event_time", "instances.instance_id")
        .select(
            "instances.instance_id",
            "instances.event_time",
            *(F.col(f"instances.{key}").alias(f"key_{key}") for key in keys),
            *(F.col(source).alias(f"feature_{name}") for name, source in sources.items()),
        )
        .collect()
    )
    for start in range(0, len(asked), size):
        part = asked[start : start + size]
        yield {
            "ids": [row["instance_id"] for row in part],
            "event_times": [row["event_time"].astimezone().isoformat() for row in part],
            "segments": {key: [row[f"key_{key}"] for row in part] for key in keys},
            "features": {n: [row[f"feature_{n}"] for row in part] for n in pipeline.features},
        }


def main(argv: list[str] | None = None) -> None:
    """Send a day, print the rate and what the server's recorder says."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--pipeline", default="pipelines/flights.toml")
    line.add_argument("--warehouse", default="warehouse")
    line.add_argument("--ds", type=date.fromisoformat, required=True)
    line.add_argument("--size", type=int, default=16, help="instances a request")
    line.add_argument("--url", default="http://127.0.0.1:8000")
    args = line.parse_args(argv)
    asked = list(
        requests(Warehouse(args.warehouse, load_pipeline(args.pipeline)), args.ds, args.size)
    )
    with httpx.Client(base_url=args.url, timeout=30) as client:
        began = time.perf_counter()
        for request in asked:
            client.post("/score", json=request).raise_for_status()
        seconds = time.perf_counter() - began
        rows = sum(len(request["ids"]) for request in asked)
        print(f"{len(asked)} requests, {rows} flights in {seconds:.2f} s")
        print(client.get("/metrics").text, end="")


if __name__ == "__main__":
    main()
