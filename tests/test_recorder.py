"""The forward recorder: every row that was taken is in the tables once, with its reason if bad."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from inference.recorder import ForwardRecorder, JournalFullError
from inference.recording import storing
from inference.recording.frame import frame_of
from inference.recording.rows import rows_in
from inference.recording.usable import ROW, faults
from reference.plain_tables import record_tables, stored
from schemas import reasons
from schemas.errors import ConfigurationError
from schemas.pipeline import load_pipeline
from spark_jobs.candidates.rejects import record_fault, rules_of
from tests.helpers.flights_loop import PIPELINE

FLIGHTS = load_pipeline(PIPELINE)
ASKED = datetime(2013, 1, 7, 12, tzinfo=UTC)
KEYS = {"origin": ["JFK", None], "carrier": ["UA", "AA"]}


def opened(root: Path, **settings) -> ForwardRecorder:
    settings = {"file_age_s": 0.2, "journal": root / "journal", "model_version": "3"} | settings
    return ForwardRecorder(FLIGHTS, warehouse=str(root), **settings)


def test_a_request_becomes_records(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        sketch = torch.tensor([[0.5, 1.0], [2.0, 3.0]], requires_grad=True)
        recorder.record(
            [17, "b"], [ASKED, ASKED], torch.tensor([0.25, -1.5]), segments=KEYS, sketch=sketch
        )
    first, second = stored(root)
    moment = first.pop("recorded_at")
    batch = first.pop("batch_id")
    assert first == {
        "instance_id": "17",
        "event_time": ASKED,
        "event_date": date(2013, 1, 7),
        "model_version": "3",
        "prediction": 0.25,
        "logits": None,
        "statistics": None,
        "label": None,
        "loss": None,
        "segments": ["JFK", "UA"],
        "sketch": [0.5, 1.0],
    }
    assert second["segments"] == ["", "AA"]
    assert datetime.now(UTC) - moment < timedelta(minutes=1)
    assert batch.startswith("recorder/")
    metrics = recorder.metrics()
    assert (metrics.recorded, metrics.written, metrics.rejected) == (2, 2, 0)
    assert "tenforward_recorder_written 2\n" in metrics.prometheus()


def test_the_recorder_needs_no_spark_no_torch_and_no_registry_client():
    heavy = "{'pyspark', 'torch', 'mlflow', 'pandas', 'spark_jobs'}"
    code = f"import inference.recorder, sys; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


FIXED = {"model_version": "3", "recorded_at": int(ASKED.timestamp() * 1e6)}


def rows_of(*request, **given) -> pa.Table:
    """A request as it comes out of the journal."""
    return rows_in([frame_of(*request, **given, **FIXED)])


def test_times_are_utc_and_a_naive_one_is_refused(tmp_path):
    east = ASKED.astimezone(timezone(timedelta(hours=9)))
    rows = rows_of(FLIGHTS, ["a", "b"], [ASKED, east], [0, 0], segments=KEYS)
    assert rows["event_time"].to_pylist() == [ASKED, ASKED]
    stamps = np.array(["2013-01-07T12:00"] * 2, "datetime64[m]")
    rows = rows_of(FLIGHTS, ["a", "b"], stamps, [0, 0], segments=KEYS)
    assert rows["event_time"].to_pylist() == [ASKED, ASKED]
    with pytest.raises(ConfigurationError, match="has no time zone"):
        rows_of(FLIGHTS, ["a", "b"], [ASKED.replace(tzinfo=None)] * 2, [0, 0], segments=KEYS)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"predictions": [0.1]}, "'prediction': 1"),
        ({"predictions": [[0.1], [0.2]]}, r"give \(n,\)"),
        ({"labels": [1.0, 0.0, 1.0]}, "'label': 3"),
        (
            {"segments": {"origin": ["JFK", "LGA"]}},
            r"the pipeline declares \['carrier', 'origin'\]",
        ),
        ({"kind": "value"}, "a binary pipeline records probability or logit"),
        ({"sketch": [0.5, 1.0]}, r"give \(n, width\)"),
    ],
)
def test_law_7_arrays_that_do_not_belong_together_are_refused(changed, words):
    given = {"ids": ["a", "b"], "event_times": [ASKED] * 2, "predictions": [0, 0], "segments": KEYS}
    with pytest.raises(ConfigurationError, match=words):
        rows_of(FLIGHTS, **(given | changed))


BAD = {
    "empty id": ({"instance_id": ""}, reasons.MISSING),
    "no event time": ({"event_time": None}, reasons.MISSING),
    "NaN": ({"prediction": math.nan}, reasons.NOT_FINITE),
    "infinite": ({"prediction": -math.inf}, reasons.NOT_FINITE),
    "label NaN": ({"label": math.nan}, reasons.NOT_FINITE),
    "sketch NaN": ({"sketch": [1.0, math.nan]}, reasons.NOT_FINITE),
    "none": ({"prediction": None}, reasons.NO_PREDICTION),
    "wide sketch": ({"sketch": [0.0] * 17}, reasons.WRONG_ARITY),
    "future": ({"event_time": ASKED + timedelta(minutes=6)}, reasons.FUTURE_EVENT),
    "good": ({}, None),
    "good, with a sketch": ({"sketch": [1.0] * 16, "label": 1.0}, None),
}


def judged_rows() -> pa.Table:
    plain = {
        "instance_id": "a",
        "event_time": ASKED,
        "model_version": "3",
        "recorded_at": ASKED,
        "prediction": 0.5,
        "segments": ["JFK", "UA"],
    }
    return pa.Table.from_pylist([plain | changes for changes, _ in BAD.values()], schema=ROW)


def test_the_reason_of_each_bad_row():
    found = faults(judged_rows(), FLIGHTS).to_pylist()
    assert dict(zip(BAD, found, strict=True)) == {name: why for name, (_, why) in BAD.items()}


def test_law_6_recorder_and_selection_give_the_same_reasons(spark):
    rows = spark.createDataFrame(judged_rows().drop_columns(["probability"]))
    judged = rows.select(record_fault(rules_of(FLIGHTS)).alias("fault")).collect()
    assert [row["fault"] for row in judged] == faults(judged_rows(), FLIGHTS).to_pylist()


def test_probabilities_become_logits_and_the_impossible_ones_are_rejected(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        keys = {"origin": ["JFK"] * 4, "carrier": ["UA"] * 4}
        times = [ASKED] * 4
        recorder.record(
            ["a", "b", "c", "d"], times, [0.5, 0.9, 1.5, 1.0], segments=keys, kind="probability"
        )
    found = {row["instance_id"]: row["prediction"] for row in stored(root)}
    assert found == pytest.approx({"a": 0.0, "b": math.log(9), "d": math.log(1e7)}, rel=1e-6)
    (reject,) = stored(root, "forward_rejects")
    assert (reject["instance_id"], reject["reason"]) == ("c", reasons.NOT_A_PROBABILITY)
    assert json.loads(reject["record"])["probability"] == 1.5
    assert recorder.metrics().rejected == 1


def test_labels_that_are_known_at_once_are_in_the_records(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        keys = {"origin": ["JFK"] * 3, "carrier": ["UA"] * 3}
        recorder.record(
            ["a", "b", "c"], [ASKED] * 3, [0.5] * 3, segments=keys, labels=[1.0, None, math.nan]
        )
    assert [(row["instance_id"], row["label"]) for row in stored(root)] == [("a", 1.0), ("b", None)]
    (reject,) = stored(root, "forward_rejects")
    assert (reject["instance_id"], reject["reason"]) == ("c", reasons.NOT_FINITE)
    assert json.loads(reject["record"])["label"] == "NaN"


def test_law_2_what_storage_does_not_take_waits_until_it_does(tmp_path):
    recorder = opened(tmp_path)  # there are no tables yet
    recorder.record(["a", "b"], [ASKED] * 2, [0.0, math.nan], segments=KEYS)
    told = recorder.close(timeout_s=1.0)
    assert told.journal_bytes > 0
    assert (told.recorded, told.queued, told.written, told.rejected) == (2, 2, 0, 0)
    assert told.lag_s > 0
    assert "TableNotFoundError" in (told.last_error or "")
    record_tables(tmp_path)
    recorder.close()
    assert [row["instance_id"] for row in stored(tmp_path)] == ["a"]
    assert [row["instance_id"] for row in stored(tmp_path, "forward_rejects")] == ["b"]
    told = recorder.metrics()
    assert (told.recorded, told.queued, told.written, told.rejected) == (2, 0, 1, 1)
    assert (told.journal_bytes, told.lag_s, told.last_error) == (0, 0.0, None)


def test_a_request_never_waits_for_storage(tmp_path, monkeypatch):
    root, stuck = record_tables(tmp_path), threading.Event()
    append = storing._append_once
    monkeypatch.setattr(storing, "_append_once", lambda *a: (stuck.wait(60), append(*a)))
    recorder = opened(root, file_bytes=500)
    for request in range(200):  # a storage that answers nothing, and segments that are due
        recorder.record([f"{request}-a", f"{request}-b"], [ASKED] * 2, [0.0, 1.0], segments=KEYS)
    told = recorder.metrics()
    assert (told.recorded, told.queued, told.written) == (400, 400, 0)
    stuck.set()
    assert recorder.close().written == 400
    assert len(stored(root)) == 400


def test_a_server_that_may_wait_waits_for_room_and_not_longer(tmp_path):
    recorder = opened(tmp_path, journal_bytes=1000, when_full="block", block_s=30)

    def fill() -> None:
        for number in range(30):
            recorder.record([f"{number}", "b"], [ASKED] * 2, [0.0, 1.0], segments=KEYS)

    with ThreadPoolExecutor(1) as request:
        filling = request.submit(fill)  # there are no tables yet: it soon waits
        while recorder.metrics().last_error is None:
            time.sleep(0.01)
        record_tables(tmp_path)
        filling.result(60)
    assert recorder.close().written == 60
    closed = opened(tmp_path / "away", journal_bytes=100, when_full="block", block_s=0.05)
    with pytest.raises(JournalFullError, match="journal_bytes = 100"):
        closed.record(["a", "b"], [ASKED] * 2, [0.0, 1.0], segments=KEYS)
    closed.close()


def test_law_7_a_full_journal_is_an_error_and_never_a_dropped_row(tmp_path):
    recorder = opened(tmp_path, journal_bytes=4000, file_age_s=60)

    def fill() -> None:
        for _ in range(100):
            recorder.record(["a", "b"], [ASKED] * 2, [0.0, 1.0], segments=KEYS)

    with pytest.raises(JournalFullError, match="journal_bytes = 4,000"):
        fill()
    taken = recorder.metrics().recorded
    assert taken > 0
    record_tables(tmp_path)
    assert recorder.close().written == taken


def test_law_2_eight_recorders_on_one_table_at_once(tmp_path):
    root = record_tables(tmp_path)

    def serve(server: int) -> None:
        settings = {"journal": root / f"journal{server}", "file_bytes": 5_000}
        with opened(root, **settings) as recorder:
            for request in range(40):
                ids = [f"{server}-{request}-a", f"{server}-{request}-b"]
                recorder.record(ids, [ASKED] * 2, [0.0, 1.0], segments=KEYS)

    with ThreadPoolExecutor(8) as servers:
        list(servers.map(serve, range(8)))
    found = [row["instance_id"] for row in stored(root)]
    wanted = [f"{s}-{r}-{row}" for s in range(8) for r in range(40) for row in "ab"]
    assert found == sorted(wanted)


def test_a_full_disk_takes_nothing_of_the_request_and_loses_nothing_else(tmp_path, monkeypatch):
    root = record_tables(tmp_path)
    recorder = opened(root, file_age_s=60)
    recorder.record(["a", "b"], [ASKED] * 2, [0.0, 1.0], segments=KEYS)
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, frame: write(file, frame[:100]))
        with pytest.raises(OSError, match="no space left for the journal"):
            recorder.record(["c", "d"], [ASKED] * 2, [0.0, 1.0], segments=KEYS)
    recorder.record(["e", "f"], [ASKED] * 2, [0.0, 1.0], segments=KEYS)
    assert recorder.close().written == 4
    assert [row["instance_id"] for row in stored(root)] == ["a", "b", "e", "f"]


CHILD = """
import os, sys
from datetime import UTC, datetime
from inference.recorder import ForwardRecorder
root, turn = sys.argv[1:]
recorder = ForwardRecorder("pipelines/flights.toml", warehouse=root, model_version="3",
                           journal=root + "/journal", file_bytes=20_000, file_age_s=0.05)
asked = datetime(2013, 1, 7, 12, tzinfo=UTC)
for number in range(1_000_000):
    ids = [f"{turn}-{number}-{row}" for row in range(10)]
    keys = {"origin": ["JFK"] * 10, "carrier": ["UA"] * 10}
    recorder.record(ids, [asked] * 10, list(range(10)), segments=keys)
    os.write(1, ("\\n".join(ids) + "\\n").encode())
"""


def acknowledged_until_killed(root: Path, turn: int, after_s: float) -> list[str]:
    """Ids that a process was told were taken, before `kill -9`."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), str(turn)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert child.stdout is not None
    head = os.read(child.stdout.fileno(), 1 << 16)  # it has begun
    killer = time.monotonic() + after_s
    parts = [head]
    os.set_blocking(child.stdout.fileno(), False)
    while time.monotonic() < killer:
        parts.append(child.stdout.read(1 << 20) or b"")
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    os.set_blocking(child.stdout.fileno(), True)
    parts.append(child.stdout.read())
    child.stdout.close()
    lines = b"".join(parts).decode().split("\n")
    return lines[:-1]


def killed_again_and_again(root: Path, times: int) -> None:
    record_tables(root)
    dice = random.Random(times)
    acknowledged = [
        name
        for turn in range(times)
        for name in acknowledged_until_killed(root, turn, dice.uniform(0.0, 0.6))
    ]
    opened(root).close()
    found = [row["instance_id"] for row in stored(root)]
    assert len(found) == len(set(found)), "a record is there twice"
    assert set(acknowledged) <= set(found), "an acknowledged record is lost"
    assert list((root / "journal").glob("*.journal")) == []


def test_law_2_kill_9_loses_and_doubles_nothing(tmp_path):
    killed_again_and_again(tmp_path, 4)


@pytest.mark.slow
def test_law_2_kill_9_fifty_times(tmp_path):
    killed_again_and_again(tmp_path, 50)
