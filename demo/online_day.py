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
from spark_jobs.features.point_in_time import with_features
from spark_jobs.storage.warehouse import Warehouse


def requests(warehouse: Warehouse, ds: date, size: int) -> Iterator[dict[str, Any]]:
    """The day's instances with their features, in requests of `size`."""
    instances = warehouse.read("instances").where(F.col("event_date") == F.lit(ds))
    keys = warehouse.pipeline.instances.segments
    asked = with_features(warehouse, instances).join(
        instances.select("instance_id", *(F.col(k).alias(f"key_{k}") for k in keys)), "instance_id"
    )
    rows = asked.orderBy("event_time", "instance_id").collect()
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield {
            "ids": [row["instance_id"] for row in part],
            "event_times": [row["event_time"].astimezone().isoformat() for row in part],
            "segments": {key: [row[f"key_{key}"] for row in part] for key in keys},
            "features": {n: [row[n] for row in part] for n in warehouse.pipeline.features},
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
