"""Every row that was taken is in the tables once, whatever storage, the disk or `kill -9` do."""

import logging
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake.exceptions import DeltaError

from inference.recorder import JournalFullError
from inference.recording import storing
from reference.plain_tables import record_tables, stored
from tests.helpers.recording import ASKED, KEYS, opened

KILLS = int(os.environ.get("KILLS", "15"))


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


@pytest.mark.parametrize("error", [OSError("no route to host"), DeltaError("503 Slow Down")])
def test_law_2_storage_that_is_away_keeps_no_recorder_from_opening(
    tmp_path, monkeypatch, caplog, error
):
    root = record_tables(tmp_path)
    monkeypatch.setattr(logging.getLogger("tenforward"), "propagate", True)

    class Away:
        def __init__(self, place: str) -> None:
            raise error

        @classmethod
        def is_deltatable(cls, place: str) -> bool:
            raise error

    with monkeypatch.context() as storage:
        storage.setattr(storing, "Snapshot", Away)
        recorder = opened(root)
        assert f"warehouse {root} cannot be looked at, rows wait in the journal" in caplog.text
        recorder.record(["a", "b"], [ASKED] * 2, [0.0, 1.0], segments=KEYS)
        while recorder.metrics().last_error is None:
            time.sleep(0.01)
        assert recorder.metrics().queued == 2
    assert recorder.close().journal_bytes == 0
    assert [row["instance_id"] for row in stored(root)] == ["a", "b"]


def test_a_request_never_waits_for_storage(tmp_path, monkeypatch):
    root, stuck = record_tables(tmp_path), threading.Event()
    append = storing._append_once
    monkeypatch.setattr(storing, "_append_once", lambda *a: (stuck.wait(60), append(*a)))
    recorder = opened(root, file_bytes=500)
    for request in range(200):  # a storage that answers nothing, and files that are due
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
@pytest.mark.nightly
def test_law_2_kill_9_again_and_again(tmp_path):
    killed_again_and_again(tmp_path, KILLS)
