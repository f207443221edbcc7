"""What recording costs a model server: `record` by request size, and records a second to the table.

Against writing each request to Delta as it comes, and against the same rows in one Delta append.

    python -m benchmarks.recorder
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.cost import seconds
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

        def answered(
            recorder: ForwardRecorder = recorder,
            given: dict[str, Any] = given,
            requests: int = requests,
        ) -> None:
            for _ in range(requests):
                recorder.record(**given)

        cpu, ours = seconds(answered, time.thread_time), seconds(answered)
        recorder.close()
        rows = usable(batch, "plain")
        plain = seconds(partial(appended, root, rows))
        told = (shown(cpu, requests * size), shown(ours, requests * size), shown(plain, size))
        print(f"{size:>6}{told[0]:>28}{told[1]:>28}{told[2]:>32}")


def recorded(root: Path, given: dict[str, Any], requests: int) -> int:
    """So many requests, from `record` to a committed table; the rows that were written."""
    recorder = ForwardRecorder(
        PIPELINE, warehouse=str(root), model_version="1", journal=root / "journal"
    )
    for _ in range(requests):
        recorder.record(**given)
    return recorder.close(timeout_s=600).written


def appended(root: Path, rows: pa.Table) -> None:
    """Rows that are already made, in one append."""
    write_deltalake(str(root / "forward_records"), rows, mode="append")


def to_the_table(folder: Path, rows: int, size: int = 512) -> None:
    """Records a second from `record` to a committed table, one process."""
    given, batch = request(size)
    rates, processor, plain = [], [], []
    for turn in range(3):
        root = record_tables(folder / f"table{turn}")
        began, busy = time.perf_counter(), time.process_time()
        written = recorded(root, given, rows // size)
        rates.append(written / (time.perf_counter() - began))
        processor.append(1e6 * (time.process_time() - busy) / written)
        whole = usable(pa.concat_tables([batch] * (rows // size)), "plain")
        began = time.perf_counter()
        appended(root, whole)
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
