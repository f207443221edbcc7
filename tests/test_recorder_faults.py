"""A recorder whose journal is damaged, whose disk fails, whose process forks or is closing."""

import errno
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from inference.recorder import ForwardRecorder
from inference.recording.frame import frame_of
from inference.recording.journal import Journal
from inference.recording.spans import MARK, spans_of
from reference.plain_tables import record_tables, stored
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from tests.helpers.recording import ASKED, FLIGHTS, KEYS, opened


def record(recorder, *names: str) -> None:
    for name in names:
        recorder.record([f"{name}-a", f"{name}-b"], [ASKED] * 2, [0.0, 1.0], segments=KEYS)


def recorded(root: Path) -> list[str]:
    return [row["instance_id"] for row in stored(root)]


def rows_of(*names: str) -> list[str]:
    return [f"{name}-{row}" for name in names for row in "ab"]


def left_behind(root: Path, *names: str) -> Path:
    """A journal with a frame a name, as a process leaves it that was killed; its file."""
    journal = Journal(root / "journal")
    for name in names:
        ids, moment = [f"{name}-a", f"{name}-b"], int(ASKED.timestamp() * 1e6)
        given = {"segments": KEYS, "model_version": "3", "recorded_at": moment}
        journal.append(frame_of(FLIGHTS, ids, [ASKED] * 2, [0.0, 1.0], **given))
    journal.close()
    [file] = (root / "journal").glob("*.journal")
    return file


# --- files ---


@pytest.mark.parametrize("place", [0, 4, 5, 8, 12, 40, -1])
def test_law_2_rows_before_and_behind_damage_are_stored_and_the_remedy_stores_the_rest(
    tmp_path, place
):
    file = left_behind(tmp_path, "1", "2", "3")
    root, whole = record_tables(tmp_path), file.read_bytes()
    second = whole.index(MARK, 1)
    at = second + place if place >= 0 else whole.index(MARK, second + 1) - 1
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with opened(root) as recorder:
        pass
    metrics = recorder.metrics()
    assert recorded(root) == rows_of("1", "3")
    assert list((root / "journal").glob("*.journal")) == []
    [kept] = (root / "journal").glob("*.damaged")
    assert metrics.damaged_bytes == kept.stat().st_size
    # The remedy, as it says.
    told = metrics.last_error or ""
    assert str(kept) in told
    length, first = map(int, re.search(r"(\d+) bytes, from byte (\d+)", told).groups())
    name = re.search(r"name the file (\S+\.journal)", told)[1]
    for _ in range(2):  # once, however often
        (root / "journal" / name).write_bytes(whole[first : first + length])
        with opened(root) as recorder:
            pass
        assert recorder.metrics().last_error is None
        assert recorded(root) == rows_of("1", "2", "3")


def test_files_of_the_release_before_are_stored(tmp_path):
    file = left_behind(tmp_path, "1", "2")
    payloads = spans_of(file.read_bytes()).payloads
    head = struct.Struct("<II")
    earlier = [head.pack(len(one), zlib.crc32(one)) + one for one in payloads]
    file.write_bytes(b"".join(earlier) + bytes(64))
    with opened(record_tables(tmp_path)) as recorder:
        pass
    assert recorded(tmp_path) == rows_of("1", "2")
    assert recorder.metrics().last_error is None


@pytest.mark.parametrize("stray", ["notes.journal", "0.journal", "-.journal", "folder.journal"])
def test_a_file_that_is_not_the_journals_is_left_alone(tmp_path, stray):
    root = record_tables(tmp_path)
    (root / "journal").mkdir()
    path = root / "journal" / stray
    path.mkdir() if "folder" in stray else path.write_bytes(b"mine")
    with opened(root) as recorder:
        record(recorder, "1")
    assert recorded(root) == rows_of("1")
    assert path.exists()


def test_a_journal_of_zeros_goes_and_ends_nothing(tmp_path):
    root = record_tables(tmp_path)
    (root / "journal").mkdir()
    (root / "journal" / f"{'0' * 32}-00000001.journal").write_bytes(bytes(4096))
    with opened(root) as recorder:
        record(recorder, "1")
    assert recorded(root) == rows_of("1")
    assert os.listdir(root / "journal") == ["lock"]


# --- a disk that is full, and one that fails ---


def test_law_2_a_disk_that_is_full_at_a_new_file_ends_nothing(tmp_path, monkeypatch):
    root = record_tables(tmp_path)
    with opened(root, file_age_s=0.05) as recorder:

        def full(*_) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as disk:
            disk.setattr(os, "write", full)
            for name in "12":
                with pytest.raises(OSError, match="No space left"):
                    record(recorder, name)
            time.sleep(0.3)  # the thread looks at the journal meanwhile
        record(recorder, "3")
    assert recorder.metrics().recorded == 2
    assert recorded(root) == rows_of("3")
    assert list((root / "journal").glob("*.journal")) == []


def test_law_2_the_thread_that_stores_outlives_any_exception_and_tells_it(tmp_path, monkeypatch):
    root = record_tables(tmp_path)
    with opened(root, file_age_s=0.05) as recorder:
        with monkeypatch.context() as broken:
            broken.setattr(recorder, "_stored", lambda file: {}["nothing"])
            record(recorder, "1")
            while recorder.metrics().last_error is None:
                time.sleep(0.01)
            assert "KeyError" in recorder.metrics().last_error
            assert "tenforward_recorder_failing 1\n" in recorder.metrics().prometheus()
        record(recorder, "2")
    assert recorded(root) == rows_of("1", "2")
    assert recorder.metrics().last_error is None


def test_what_waits_is_counted_file_by_file(tmp_path, monkeypatch):
    """Not by a look at every file for each that is stored; one that is put there counts too."""
    file = left_behind(tmp_path / "other", "0")
    recorder = opened(tmp_path, file_bytes=1)
    for name in "123":
        record(recorder, name)
        while recorder._journal.open_file is not None:
            time.sleep(0.01)
    mended = tmp_path / "journal" / f"{file.stem}-0.journal"
    mended.write_bytes(file.read_bytes())
    own = [path.stat().st_size for path in (tmp_path / "journal").glob("*.journal")]
    assert len(own) == 4
    limit = time.monotonic() + 10
    while recorder.metrics().journal_bytes != sum(own):
        assert time.monotonic() < limit
        time.sleep(0.01)
    monkeypatch.setattr(Journal, "bytes_of", None)
    record_tables(tmp_path)
    assert recorder.close().journal_bytes == 0
    assert sorted(recorded(tmp_path)) == rows_of("0", "1", "2", "3")


def test_a_file_that_vanished_holds_up_no_other(tmp_path, monkeypatch):
    root = record_tables(tmp_path)
    recorder = opened(root, file_age_s=600)
    record(recorder, "1")
    [file] = (root / "journal").glob("*.journal")
    file.unlink()
    told = recorder.close(timeout_s=20)
    assert told.journal_bytes == 0
    assert "2 rows of it are lost" in told.last_error


@pytest.mark.parametrize("first", [True, False])
def test_law_2_an_fsync_that_fails_leaves_no_row_half_acknowledged(tmp_path, monkeypatch, first):
    root = record_tables(tmp_path)
    with opened(root, fsync=True, file_age_s=600) as recorder:
        if not first:
            record(recorder, "1")

        def fails(_) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", fails)
            with pytest.raises(OSError, match="Input/output"):
                record(recorder, "2")
        record(recorder, "3")
    assert recorded(root) == rows_of(*([] if first else ["1"]), "3")


def test_with_fsync_a_new_files_name_reaches_the_disk_too(tmp_path, monkeypatch):
    root, synchronised = record_tables(tmp_path), []
    fsync = os.fsync

    def told(descriptor: int) -> None:
        synchronised.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", told)
    with opened(root, fsync=True, file_age_s=600) as recorder:
        record(recorder, "1", "2")
        [file] = (root / "journal").glob("*.journal")
        own = [one for one in synchronised if str(root / "journal") in one]
        assert own == [str(root / "journal"), str(file), str(file)]


# --- processes, closing, owners ---

FORKED = """
import os, sys
from datetime import UTC, datetime
from inference.recorder import ForwardRecorder
root = sys.argv[1]
def opened(folder):
    return ForwardRecorder("pipelines/flights.toml", warehouse=root, model_version="3",
                           journal=f"{root}/{folder}", file_age_s=0.2)
def record(recorder, name):
    keys = {"origin": ["JFK"], "carrier": ["UA"]}
    recorder.record([name], [datetime(2013, 1, 7, 12, tzinfo=UTC)], [0.0], segments=keys)
with opened("journal") as recorder:
    record(recorder, "parent")
    child = os.fork()
    if child == 0:
        for attempt in (lambda: record(recorder, "child"), lambda: opened("journal-of-child")):
            try:
                attempt()
            except Exception as error:
                print(type(error).__name__, error, flush=True)
        recorder.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    record(recorder, "parent again")
"""


def test_law_2_a_fork_is_refused_rows_that_nothing_would_store(tmp_path):
    root = record_tables(tmp_path)
    here = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, str(root)],
        capture_output=True, text=True, cwd=here, env=os.environ | {"PYTHONPATH": str(here)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ConfigurationError recorder: opened by process" in done.stdout
    assert "Remedy: open it after the fork" in done.stdout
    assert "ConfigurationError recorder: this process was forked from one that" in done.stdout
    assert recorded(root) == ["parent", "parent again"]


def test_a_fork_s_metrics_wait_for_no_lock(tmp_path, monkeypatch):
    recorder, other = opened(record_tables(tmp_path), file_age_s=600), os.getpid() + 1
    record(recorder, "1")
    with ThreadPoolExecutor() as threads:
        with recorder._changed, monkeypatch.context() as fork:  # as a thread held it at the fork
            fork.setattr(os, "getpid", lambda: other)
            asked = threads.submit(recorder.metrics)
            wait([asked], timeout=10)
            assert asked.done()
        assert (asked.result().recorded, asked.result().queued) == (2, 2)
    recorder.close()


def test_a_fork_does_not_keep_the_journal_of_a_parent_that_is_gone(tmp_path):
    recorder = opened(tmp_path, file_age_s=600)
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(said, b"x")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(heard, 1)
        recorder.close()
        opened(tmp_path).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_law_2_a_request_that_waits_while_the_recorder_closes_is_refused(tmp_path):
    recorder = opened(tmp_path, journal_bytes=300, when_full="block", block_s=60)
    record(recorder, "1")
    told = []

    def wait() -> None:
        with pytest.raises(ConfigurationError, match="it is closed") as error:
            record(recorder, "2")
        told.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.2)
    recorder.close(timeout_s=0)
    waiting.join(30)
    record_tables(tmp_path)
    recorder.close()
    assert len(told) == 1
    assert recorded(tmp_path) == rows_of("1")
    assert recorder.metrics().recorded == 2


def test_closing_twice_closes_no_file_of_somebody_else(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        record(recorder, "1")
        recorder.close()
        others = [os.open(root / "other", os.O_RDWR | os.O_CREAT) for _ in range(20)]
        recorder.close()
    recorder.close()
    for descriptor in others:
        os.fstat(descriptor)
        os.close(descriptor)
    assert recorded(root) == rows_of("1")


def renamed(name: str) -> Pipeline:
    return FLIGHTS.model_copy(update={"name": name})


def test_another_pipelines_warehouse_is_refused(tmp_path):
    root = record_tables(tmp_path, owner="flights")
    given = {"warehouse": str(root), "model_version": "3", "journal": root / "journal"}
    with pytest.raises(ConfigurationError, match="holds pipeline 'flights', not 'minutes'"):
        ForwardRecorder(renamed("minutes"), **given)
    ForwardRecorder(FLIGHTS, **given).close()


def test_rows_wait_where_the_tables_turn_out_to_be_another_pipelines(tmp_path):
    recorder = opened(tmp_path)
    record(recorder, "1")
    record_tables(tmp_path, owner="minutes")
    while "holds pipeline 'minutes'" not in (recorder.metrics().last_error or ""):
        time.sleep(0.01)
    assert recorder.close(timeout_s=0.1).journal_bytes > 0
    assert recorded(tmp_path) == []


def test_a_journal_with_rows_of_another_pipeline_is_refused(tmp_path):
    left_behind(tmp_path, "1")
    root = record_tables(tmp_path)
    given = {"warehouse": str(root), "model_version": "3", "journal": root / "journal"}
    with pytest.raises(ConfigurationError, match="holds rows of pipeline 'flights', not 'minutes'"):
        ForwardRecorder(renamed("minutes"), **given)
    with opened(root):  # the remedy
        pass
    assert recorded(root) == rows_of("1")


def test_without_a_version_and_without_the_registrys_client_the_remedy_is_told(
    tmp_path, monkeypatch
):
    (tmp_path / "mlflow.db").touch()
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigurationError, match="Remedy: name the version of the model"):
        opened(tmp_path, model_version=None)


def test_prometheus_is_told_type_and_meaning_and_counters_end_in_total(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        record(recorder, "1")
    lines = recorder.metrics().prometheus().splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if line[0] != "#"}
    kinds = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
    assert values.keys() == kinds.keys() == helped
    assert {name.endswith("_total") for name, kind in kinds.items() if kind == "counter"} == {True}
    assert not any(name.endswith("_total") for name, kind in kinds.items() if kind == "gauge")
    assert values["tenforward_recorder_written_total"] == 2
