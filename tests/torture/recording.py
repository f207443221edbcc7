"""A model server that records a day, one request after the other, and its client.

    python -m tests.torture.recording FOLDER DAY

The client notes each answered request in a file; when the server is started again it goes on with
the first that was not answered.
"""

import hashlib
import os
import sys
import time
from datetime import UTC, date
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from inference.recorder import ForwardRecorder
from schemas.pipeline import load_pipeline
from tests.torture.rows import rows_of
from tests.torture.steps import pipeline_in

REQUEST = 4  # rows
PAUSE_S = 0.01  # between two requests
SKETCH = 16  # as many as the flights' scores leave


def main(folder: Path, day: date) -> None:
    """Record what of the day is left."""
    pipeline = load_pipeline(pipeline_in(folder))
    root, answered = folder / "warehouse", folder / f"answered-{day}"
    keys = pipeline.instances.segments
    table = rows_of(root / "instances").select(["instance_id", "event_date", "event_time", *keys])
    rows = table.filter(pc.equal(table["event_date"], day)).sort_by("instance_id")
    done = answered.stat().st_size if answered.exists() else 0
    with (
        answered.open("ab", buffering=0) as notes,
        ForwardRecorder(
            pipeline,
            warehouse=str(root),
            model_version="1",
            journal=root / "journal",
            file_bytes=4_000,
            file_age_s=0.1,
        ) as recorder,
    ):
        print("recording", flush=True)
        for start in range(done * REQUEST, rows.num_rows, REQUEST):
            part = rows.slice(start, REQUEST).to_pydict()
            given = np.array([numbers(name) for name in part["instance_id"]])
            recorder.record(
                part["instance_id"],
                [moment.replace(tzinfo=UTC) for moment in part["event_time"]],
                given[:, 0],
                segments={key: part[key] for key in keys},
                sketch=given[:, 1:],
            )
            os.write(notes.fileno(), b".")
            time.sleep(PAUSE_S)
    if recorder.metrics().journal_bytes:
        sys.exit(f"not all is stored: {recorder.metrics()}")


def numbers(name: str) -> list[float]:
    """A prediction and a sketch, by the instance's id."""
    digest = hashlib.sha256(name.encode()).digest()
    return [(byte - 128) / 64 for byte in digest[: 1 + SKETCH]]


if __name__ == "__main__":
    main(Path(sys.argv[1]), date.fromisoformat(sys.argv[2]))
