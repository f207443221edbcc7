"""Two writers of one table never both believe to have written one version: rows would be lost."""

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, write_deltalake
from deltalake import DeltaTable as Snapshot

from schemas.errors import ConfigurationError
from spark_jobs.storage.links import require_links
from spark_jobs.storage.session import LOG_STORES, REQUIRED
from tests.helpers.commit_race import race

OURS = "tenforward.LinkLogStore"
ROOT = Path(__file__).parents[1]
TRIES = int(os.environ.get("TRIES", "400"))
COMMITS = int(os.environ.get("COMMITS", "15"))


def commit(spark, path: Path, line: str, overwrite: bool = False) -> None:
    """A write by the log store in Spark's JVM."""
    jvm = spark._jvm
    configuration = spark.sparkContext._jsc.hadoopConfiguration()
    lines = jvm.java.util.ArrayList()
    lines.add(line)
    store = jvm.tenforward.LinkLogStore(configuration)
    store.write(
        jvm.org.apache.hadoop.fs.Path(f"file://{path}"), lines.iterator(), overwrite, configuration
    )


def test_a_version_that_is_there_is_never_replaced(spark, tmp_path):
    path = tmp_path / "a folder, 100%20" / "00000000000000000001.json"
    path.parent.mkdir()
    commit(spark, path, '{"first": "ä"}')
    with pytest.raises(Exception, match="FileAlreadyExistsException"):
        commit(spark, path, '{"second": 2}')
    assert path.read_text(encoding="utf-8") == '{"first": "ä"}\n'
    assert os.listdir(path.parent) == [path.name], "nothing staged is left"


def test_a_pointer_may_be_replaced(spark, tmp_path):
    path = tmp_path / "_last_checkpoint"
    commit(spark, path, "1", overwrite=True)
    commit(spark, path, "2", overwrite=True)
    assert path.read_text() == "2\n"


def test_every_session_commits_by_it(spark, tmp_path):
    assert REQUIRED["spark.delta.logStore.file.impl"] == OURS
    assert LOG_STORES.items() <= dict(spark.sparkContext.getConf().getAll()).items()
    table = tmp_path / "table"
    spark.range(3).write.format("delta").save(str(table))
    left = {path.name for path in (table / "_delta_log").iterdir()}
    assert "00000000000000000000.json" in left
    # Spark's own store leaves a checksum beside what it renames.
    assert ".00000000000000000000.json.crc" not in left


def test_law_2_neither_side_loses_a_commit_when_both_commit_one_version(tmp_path):
    found = race(OURS, 20, tmp_path)
    assert (found["tries"], found["both"], found["lost"]) == (20, 0, 0)


@pytest.mark.slow
@pytest.mark.nightly
def test_law_2_neither_side_loses_a_commit_in_many_tries(tmp_path):
    found = race(OURS, TRIES, tmp_path)
    assert (found["both"], found["lost"]) == (0, 0)
    # It was a race: each side was first often enough.
    assert min(found["spark"], found["delta_rs"]) > TRIES / 20, found
    assert found["spark"] + found["delta_rs"] == TRIES


@pytest.mark.slow
@pytest.mark.nightly
def test_law_2_whole_commits_of_both_writers_keep_every_row(spark, tmp_path):
    table = str(tmp_path / "table")
    spark.range(0).write.format("delta").save(table)
    ended = []

    def delta_rs() -> int:
        rows = 0
        while not ended:
            more = pa.table({"id": pa.array([-1 - rows], pa.int64())})
            # Beside Spark's commits one version after the other is taken.
            retries = CommitProperties(max_commit_retries=1000)
            write_deltalake(table, more, mode="append", commit_properties=retries)
            rows += 1
            time.sleep(0.1)
        return rows

    with ThreadPoolExecutor(1) as other:
        appended = other.submit(delta_rs)
        for number in range(COMMITS):
            spark.range(number, number + 1).coalesce(1).write.format("delta").mode("append").save(
                table
            )
        ended.append(True)
        rows = appended.result(120)
    found = [row.id for row in spark.read.format("delta").load(table).collect()]
    assert sorted(found) == sorted([*range(COMMITS), *(-1 - one for one in range(rows))])
    assert Snapshot(table).version() == COMMITS + rows
    assert rows > 0


def test_a_file_system_that_knows_no_hard_links_is_refused(tmp_path, monkeypatch):
    def refused(*_) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(ConfigurationError, match=r"knows no hard links.*Remedy: put the warehouse"):
        require_links(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_file_system_that_gives_a_name_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: None)
    with pytest.raises(ConfigurationError, match="gives one name twice"):
        require_links(str(tmp_path))


def test_a_folder_that_keeps_writers_apart_is_left_as_it_is(tmp_path):
    require_links(str(tmp_path))
    assert os.listdir(tmp_path) == []
    require_links("s3://bucket/warehouse")


def test_the_log_store_is_compiled_the_same_each_time(tmp_path):
    java = subprocess.run(
        ["bash", "-c", 'readlink -f "$(command -v java)"'], capture_output=True, text=True
    )
    home = Path(java.stdout.strip()).parents[1]
    jars = [tmp_path / name for name in ("one.jar", "two.jar")]
    for jar in jars:
        subprocess.run(
            [sys.executable, "setup/log_store.py", str(home), str(jar)], check=True, cwd=ROOT
        )
    assert jars[0].read_bytes() == jars[1].read_bytes()
