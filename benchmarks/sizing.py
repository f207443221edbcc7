"""What a record weighs: the inputs of docs/sizing.md that are not times.

    python -m benchmarks.sizing [--rows N]

Bytes of a row of `forward_records`, `labels` and `selection_probabilities` in Parquet, and of a
candidate packed in a shard; the peak memory and the CPU time of the Python process that packs one
shard.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spark_jobs.blocks.shards import pack
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.maturity import Counting
from spark_jobs.refresh.candidate_files import write_file
from spark_jobs.selection.draw import selection_of

SKETCH = 16
DAY = 1_359_676_800_000_000  # 2013-02-01 in microseconds
MOMENT = pa.timestamp("us", tz="UTC")


def ids(n: int) -> list[str]:
    """Ids of 16 characters that do not compress, as request ids do not."""
    drawn = np.random.default_rng(0).integers(0, 1 << 63, n)
    return [f"{one:016x}" for one in drawn.tolist()]


def records(n: int, sketch: bool) -> pa.Table:
    """n rows of `forward_records` as the scoring job leaves them, with two segment keys."""
    random = np.random.default_rng(1)
    when = pa.array(DAY + random.integers(0, 86_400_000_000, n), MOMENT)
    keys = (
        np.array(["EWR", "JFK", "LGA"])[random.integers(0, 3, n)],
        np.array(["AA", "B6", "DL", "EV", "UA", "WN"])[random.integers(0, 6, n)],
    )
    lists = pa.FixedSizeListArray.from_arrays(
        pa.array(random.normal(size=n * SKETCH).astype(np.float32)), SKETCH
    ).cast(pa.list_(pa.float32()))
    return pa.table(
        {
            "instance_id": ids(n),
            "event_time": when,
            "event_date": when.cast(pa.date32()),
            "model_version": pa.repeat("12", n),
            "batch_id": pa.repeat("score/2013-02-01", n),
            "recorded_at": pa.array(np.full(n, DAY), MOMENT),
            "prediction": random.normal(size=n),
            "logits": pa.nulls(n, pa.list_(pa.float32())),
            "label": pa.nulls(n, pa.float64()),
            "loss": pa.nulls(n, pa.float64()),
            "segments": pa.array(list(zip(*keys, strict=True)), pa.list_(pa.string())),
            "sketch": lists if sketch else pa.nulls(n, pa.list_(pa.float32())),
        }
    )


def labels(n: int) -> pa.Table:
    """Their labels, as they arrived."""
    random = np.random.default_rng(2)
    when = pa.array(DAY + random.integers(0, 86_400_000_000, n), MOMENT)
    return pa.table(
        {
            "instance_id": ids(n),
            "event_date": when.cast(pa.date32()),
            "known_at": when,
            "label": (random.random(n) < 0.2).astype(np.float64),
        }
    )


def probabilities(n: int) -> pa.Table:
    """n rows of `selection_probabilities` by the default policy, without the refresh's id."""
    logged = records(n, True).drop_columns(["label"])
    answers = logged.append_column("label", labels(n)["label"])
    return selection_of(answers, policy="calibrated", budget=0.1, seed=7).rows(False)


def candidate_bytes(n: int) -> float:
    """Bytes of one of n candidates in the file that selection writes."""
    with tempfile.TemporaryDirectory() as folder:
        return write_file(probabilities(n), place=folder, refresh_id="sizing").bytes / n


def in_parquet(table: pa.Table) -> float:
    """Bytes a row in a file as Spark and delta-rs write it (snappy)."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        pq.write_table(table, file, compression="snappy")
        return file.stat().st_size / table.num_rows


def arriving(n: int, sketch: bool) -> pa.Table:
    """A shard's rows as `candidates.narrow` gives them: n records, then their n labels."""
    logged, known = records(n, sketch), labels(n)
    nothing = pa.nulls(n, pa.string())
    columns = ["instance_id", "event_time", "model_version", "prediction", "logits", "segments"]
    left = logged.select([*columns, "sketch", "label"])
    left = left.append_column("is_label", pa.array(np.zeros(n, bool)))
    left = left.append_column("fault", nothing)
    left = left.append_column("counting", pa.array(np.full(n, int(Counting.ANY), np.int32)))
    left = left.append_column("moment", pa.array(np.full(n, DAY)))
    left = left.append_column("tie", pa.array(np.ones(n, np.int64)))
    left = left.append_column("content", pa.array(np.ones(n, np.int64)))
    right = pa.table(
        {
            "is_label": np.ones(n, bool),
            "fault": nothing,
            "instance_id": known["instance_id"],
            "label": known["label"],
            "moment": pa.array(np.full(n, DAY)),
            "content": pa.array(np.ones(n, np.int64)),
        }
    )
    absent = [name for name in left.column_names if name not in right.column_names]
    for name in absent:
        right = right.append_column(name, pa.nulls(n, left.schema.field(name).type))
    return pa.concat_tables([left, right.select(left.column_names)])


def peak_mb() -> float:
    """The most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--rows", type=int, default=1_000_000, help="records (%(default)s)")
    n = line.parse_args(argv).rows
    wide, slim = records(n, True), records(n, False)
    print(f"forward_records with a sketch of {SKETCH}: {in_parquet(wide):.0f} bytes a row")
    print(f"forward_records without a sketch: {in_parquet(slim):.0f} bytes a row")
    print(f"labels: {in_parquet(labels(n)):.0f} bytes a row")
    del wide, slim
    few = min(n, 200_000)
    print(f"selection_probabilities: {candidate_bytes(few):.0f} bytes a candidate")
    rows = arriving(n, True)
    print(f"on its way to Python: {rows.nbytes / n:.0f} bytes a record with its label")
    before, began = peak_mb(), time.process_time()
    candidates, _ = assemble(rows, 7, None)
    shard = pack(candidates)
    size = sum(map(len, shard)) / n
    print(f"packed: {size:.0f} bytes a candidate, in {time.process_time() - began:.1f} s of CPU")
    print(f"peak memory {peak_mb():.0f} MB, {before:.0f} MB before packing; {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
