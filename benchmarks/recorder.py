"""What recording costs a model server: `record` by request size, and records a second to the table.

Against writing each request to Delta as it comes, and against the same rows in one Delta append.

    python -m benchmarks.recorder
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from inference.recorder import ForwardRecorder
from inference.recording.frame import frame_of
from inference.recording.rows import rows_in
from inference.recording.usable import usable
from reference.plain_tables import record_tables
from schemas.pipeline import load_pipeline

PIPELINE = load_pipeline("pipelines/flights.toml")
ASKED = np.datetime64("2013-01-07T12:00", "us")


def request(size: int) -> tuple[dict[str, Any], pa.Table]:
    """The arguments of `record` for a request of so many rows, and what it makes of them."""
    given: dict[str, Any] = {
        "ids": [f"2013-01-07/{number}" for number in range(size)],
        "event_times": np.full(size, ASKED),
        "predictions": np.linspace(-3, 3, size),
        "segments": {"origin": ["JFK"] * size, "carrier": ["UA"] * size},
        "sketch": np.ones((size, 16), np.float32),
    }
    frame = frame_of(PIPELINE, **given, model_version="1", recorded_at=time.time_ns() // 1000)
    return given, rows_in([frame])


def seconds(
    job: Callable[[], object], clock: Callable[[], float] = time.perf_counter, repeats: int = 5
) -> list[float]:
    """Time of each repeat by the clock, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        began = clock()
        job()
        times.append(clock() - began)
    return times[1:]


def shown(times: list[float], rows: int) -> str:
    """Microseconds a record: median and spread."""
    each = [1e6 * one / rows for one in times]
    return f"{statistics.median(each):9.2f} [{min(each):.2f}, {max(each):.2f}]"


def by_request_size(folder: Path) -> None:
    """Microseconds that `record` adds to a request, a record, beside one append a request.

    The processor's time of the thread that answers, then wall time, which other work lengthens.
    """
    print("rows a request, us a row: record, processor; record, wall; one Delta append a request")
    for size in (1, 8, 64, 512, 4096):
        given, batch = request(size)
        requests = max(1, min(2_000, 200_000 // size))
        root = record_tables(folder / f"requests{size}")
        recorder = ForwardRecorder(
            PIPELINE, warehouse=str(root), model_version="1", journal=root / "journal"
        )

        def recorded(
            recorder: ForwardRecorder = recorder,
            given: dict[str, Any] = given,
            requests: int = requests,
        ) -> None:
            for _ in range(requests):
                recorder.record(**given)

        cpu, ours = seconds(recorded, time.thread_time), seconds(recorded)
        recorder.close()
        rows = usable(batch, "plain")
        path = str(root / "forward_records")
        plain = seconds(partial(write_deltalake, path, rows, mode="append"))
        told = (shown(cpu, requests * size), shown(ours, requests * size), shown(plain, size))
        print(f"{size:>6}{told[0]:>28}{told[1]:>28}{told[2]:>32}")


def to_the_table(folder: Path, rows: int, size: int = 512) -> None:
    """Records a second from `record` to a committed table, one process."""
    given, batch = request(size)
    rates, processor, plain = [], [], []
    for turn in range(3):
        root = record_tables(folder / f"table{turn}")
        began, busy = time.perf_counter(), time.process_time()
        recorder = ForwardRecorder(
            PIPELINE, warehouse=str(root), model_version="1", journal=root / "journal"
        )
        for _ in range(rows // size):
            recorder.record(**given)
        told = recorder.close(timeout_s=600)
        rates.append(told.written / (time.perf_counter() - began))
        processor.append(1e6 * (time.process_time() - busy) / told.written)
        whole = usable(pa.concat_tables([batch] * (rows // size)), "plain")
        began = time.perf_counter()
        write_deltalake(str(root / "forward_records"), whole, mode="append")
        plain.append(whole.num_rows / (time.perf_counter() - began))
    ours, other = statistics.median(rates), statistics.median(plain)
    print(
        f"{rows:,} records in requests of {size}: {ours:,.0f} records/s"
        f" [{min(rates):,.0f}, {max(rates):,.0f}] from request to table,"
        f" {statistics.median(processor):.2f} us a record of all threads' processor time;"
        f" one append of rows already made {other:,.0f} ({ours / other:.2f}x)"
    )


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--rows", type=int, default=2_000_000)
    args = line.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tenforward-bench-") as folder:
        by_request_size(Path(folder))
        to_the_table(Path(folder), args.rows)


if __name__ == "__main__":
    main()
