"""An error keeps its exit code wherever it is raised, and no expected fault ends in a traceback."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.command import run_command
from schemas.errors import (
    KINDS,
    ConfigurationError,
    ConflictError,
    DataQualityError,
    NoDataError,
    TenforwardError,
)
from schemas.faults import fault_of
from spark_jobs.storage.refused import refuse

Job = Callable[[], Any]
TODAY = datetime.now(UTC).date()


def result_of(capfd: pytest.CaptureFixture[str], job: Job) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON result and log of a command that does this."""
    code = run_command(lambda _: {"status": job()}, [])
    out, log = capfd.readouterr()
    return code, json.loads(out.splitlines()[-1]), log


def raising(error: TenforwardError) -> Callable[[Iterable[pa.RecordBatch]], Iterator[Any]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            raise error
        yield from ()

    return run


ERRORS = [
    kind("column x: 'a'\nis no number. Remedy: mend it.", rejects={"bad-label": 3})
    for kind in KINDS.values()
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_a_worker_keeps_code_message_and_details(spark, capfd, error) -> None:
    rows = spark.range(4).mapInArrow(raising(error), "id BIGINT")
    code, result, log = result_of(capfd, rows.collect)
    assert code == result["exit_code"] == error.exit_code
    assert result["error"] == str(error)
    assert result["rejects"] == {"bad-label": 3}
    assert "Traceback" not in log


def test_an_error_keeps_its_code_on_its_way_through_a_write_and_another_error(
    spark: SparkSession, tmp_path: Path
) -> None:
    def wrapped() -> None:
        try:
            rows = spark.range(4).mapInArrow(raising(NoDataError("none left")), "id BIGINT")
            rows.write.format("delta").save(str(tmp_path / "t"))
        except Exception as error:
            raise RuntimeError("while writing") from error

    with pytest.raises(RuntimeError) as raised:
        wrapped()
    fault = fault_of(raised.value)
    assert (type(fault), str(fault)) == (NoDataError, "none left")


def test_a_query_that_refuses_a_row_says_so_in_its_own_words(spark, capfd) -> None:
    message = F.concat(F.lit("row "), F.col("id").cast("string"), F.lit(': "{}" is\\ bad'))
    rows = spark.range(4).select(F.when(F.col("id") == 2, refuse(message)).otherwise(F.lit("")))
    code, result, log = result_of(capfd, rows.toArrow)
    assert (code, result["error"]) == (4, 'row 2: "{}" is\\ bad')
    assert "SQLSTATE" not in log


def constrained(spark: SparkSession, folder: Path) -> str:
    spark.sql(
        f"CREATE TABLE delta.`{folder}` (x DOUBLE) USING delta"
        " TBLPROPERTIES ('delta.constraints.x_valid' = 'x BETWEEN 0 AND 1')"
    )
    return str(folder)


def test_a_row_that_a_constraint_refuses_exits_with_4(spark, tmp_path, capfd) -> None:
    table = constrained(spark, tmp_path / "c")
    bad = spark.range(3).select(F.col("id").cast("double").alias("x"))
    write = bad.write.format("delta").mode("append")
    code, result, log = result_of(capfd, lambda: write.save(table))
    assert code == 4
    assert "constraint x_valid" in result["error"]
    assert "x : 2.0" in result["error"]
    assert "\tat " not in result["error"] + log

    rows = pa.table({"x": [7.0]})
    code, result, _ = result_of(capfd, lambda: write_deltalake(table, rows, mode="append"))
    assert code == 4


def table_without(folder: Path, damage: Callable[[Path], Any]) -> Path:
    """A Delta table of one file that something has happened to."""
    write_deltalake(str(folder), pa.table({"x": [1.0, 2.0]}))
    (file,) = folder.glob("*.parquet")
    damage(file)
    return folder


def test_tables_and_files_that_are_gone_or_damaged_are_told_without_a_trace(
    spark, tmp_path, capfd
) -> None:
    gone = table_without(tmp_path / "gone", Path.unlink)
    damaged = table_without(tmp_path / "damaged", lambda file: file.write_bytes(b"x" * 600))
    log = table_without(tmp_path / "log", lambda _: None)
    (log / "_delta_log" / "00000000000000000000.json").write_text("{broken")
    read = spark.read.format("delta")
    faults: dict[str, tuple[int, Job]] = {
        "FILE_NOT_EXIST": (4, lambda: read.load(str(gone)).collect()),
        "not a Parquet file": (4, lambda: read.load(str(damaged)).collect()),
        "PATH_NOT_FOUND": (2, lambda: read.load(str(tmp_path / "none")).collect()),
        "CAST_INVALID_INPUT": (4, lambda: spark.sql("SELECT int(x) FROM VALUES ('a') t(x)").head()),
        "CAST_OVERFLOW": (4, lambda: spark.sql("SELECT int(x) FROM VALUES (1e30D) t(x)").head()),
        "UNRESOLVED_COLUMN": (2, lambda: spark.range(1).select("nope")),
        "/none": (2, lambda: Snapshot(str(tmp_path / "none"))),
        "log": (4, lambda: Snapshot(str(log))),
        "magic bytes": (4, lambda: pq.read_table(next(damaged.glob("*.parquet")))),
        "no such file": (4, lambda: pq.read_table(tmp_path / "a.parquet")),
        "none.toml": (2, (tmp_path / "none.toml").read_bytes),
    }
    for words, (code, job) in faults.items():
        found, result, said = result_of(capfd, job)
        assert found == code, (words, result)
        assert words in result["error"]
        assert "Remedy: " in result["error"]
        assert "Traceback" not in said
        assert "\tat " not in said


def remote(module: str, text: str) -> Exception:
    """An error of a library that need not be there."""
    made: Exception = type("LibraryError", (Exception,), {"__module__": module})(text)
    return made


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), TenforwardError),
        (OSError(errno.EACCES, "Permission denied"), ConfigurationError),
        (OSError(errno.EROFS, "Read-only file system"), ConfigurationError),
        (FileNotFoundError(errno.ENOENT, "No such file", "part-0.parquet"), DataQualityError),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/w"), ConfigurationError),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), ConflictError),
        (remote("sqlalchemy.exc", "database is locked"), ConflictError),
        (remote("mlflow.exceptions", "API request failed: Max retries exceeded"), ConflictError),
        (remote("mlflow.exceptions", "unable to open database file"), ConfigurationError),
        (remote("_internal", "Failed to commit: a conflict with version 15"), ConflictError),
        (remote("py4j.protocol", "x\nCaused by: a.B: No space left on device"), TenforwardError),
        (
            remote("py4j.protocol", "java.lang.OutOfMemoryError: Java heap"),
            TenforwardError,
        ),
        (remote("py4j.protocol", "Error while sending or receiving"), TenforwardError),
        (remote("py4j.protocol", "Answer from Java side is empty"), TenforwardError),
        (
            remote("pyspark.errors", "[JAVA_GATEWAY_EXITED] Java gateway process exited"),
            TenforwardError,
        ),
        (
            remote("py4j.protocol", "SparkException: Python worker exited unexpectedly (crashed)"),
            TenforwardError,
        ),
        (remote("py4j.protocol", "x: [DELTA_CONCURRENT_APPEND] Meanwhile"), ConflictError),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:30],
)
def test_faults_of_disks_stores_and_registries_have_their_codes(error, kind) -> None:
    fault = fault_of(error)
    assert type(fault) is kind
    assert "Remedy: " in str(fault)


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), AssertionError("no")])
def test_what_nobody_expects_stays_unexpected(error, capfd) -> None:
    def job() -> None:
        raise error

    code, result, log = result_of(capfd, job)
    assert (code, result["exit_code"]) == (1, 1)
    assert "Traceback" in log


def test_what_was_dealt_with_does_not_decide_what_failed_next(capfd) -> None:
    def job() -> None:
        try:
            Path("/nowhere/at/all").read_bytes()
        except OSError:
            raise AssertionError("a mistake of ours")  # noqa: B904 - the context is the test

    assert result_of(capfd, job)[0] == 1


@pytest.mark.parametrize("command", ["backfill", "bootstrap"])
@pytest.mark.parametrize("ahead", [0, 3])
def test_a_range_that_is_not_over_is_refused(command, ahead, tmp_path, capfd) -> None:
    import tenforward

    end = TODAY + timedelta(days=ahead)
    where = ["--pipeline", "pipelines/flights.toml", "--warehouse", str(tmp_path)]
    code = tenforward.main([command, *where, "--start", "2013-01-01", "--end", str(end)])
    assert code == 2
    assert f"--end = {end}: this UTC day is not over" in capfd.readouterr().out


# Signals.

WAITING = """
import sys, time
from schemas.command import run_command
def job(_):
    print("ready", file=sys.stderr, flush=True)
    {work}
sys.exit(run_command(job, []))
"""


def ended_by_sigterm(work: str) -> tuple[int, dict[str, Any], float]:
    """Exit code and result of a command that got SIGTERM at work, and the seconds it took."""
    command = [sys.executable, "-c", WAITING.format(work=work)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    while "ready" not in (line := process.stderr.readline()):
        assert line, "ended before its work began"
    began = time.monotonic()
    process.terminate()
    out, log = process.communicate(timeout=60)
    assert "Traceback" not in log
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    return process.returncode, json.loads(out.splitlines()[-1]), time.monotonic() - began


def test_sigterm_ends_a_command_soon_with_143_and_a_result() -> None:
    code, result, seconds = ended_by_sigterm("time.sleep(60)")
    assert code == 143
    assert result == {"status": "interrupted", "exit_code": 143}
    assert seconds < 10


def test_sigterm_is_as_it_was_after_a_command() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run_command(lambda _: {}, []) == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_sigterm_ends_spark_with_the_command() -> None:
    work = """
    from pyspark.sql import functions as F
    from spark_jobs.storage.session import spark_session
    rows = spark_session("waits").range(2)
    print("ready", file=sys.stderr, flush=True)
    rows.select(F.expr("reflect('java.lang.Thread', 'sleep', 60000L + id)")).collect()
"""
    work = work.replace('print("ready"', 'time.sleep(1); print("ready"').strip()
    code, result, seconds = ended_by_sigterm(work)
    assert (code, result["status"]) == (143, "interrupted")
    assert seconds < 25
