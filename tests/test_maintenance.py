"""Maintenance changes files and never a row that anybody may still read."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake
from pyspark.sql import functions as F

from schemas.errors import ConfigurationError
from schemas.pipeline import load_pipeline
from schemas.sections.maintenance import Maintenance
from spark_jobs.maintain import maintain
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.select_sample import select_day
from spark_jobs.storage.compaction import crowded
from spark_jobs.storage.retention import pinned_refreshes
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE, copied, manifest_of, versions
from tests.helpers.writers import COMMITS, DAY, ROWS, records
from trainer.data.refresh import open_refresh

MB = 1 << 20


def file(day: int, size: int) -> dict:
    return {"partition": {"event_date": date(2013, 1, day)}, "bytes": size, "rows": 1}


def test_a_partition_is_compacted_where_it_has_enough_small_files():
    files = [file(1, MB)] * 4 + [file(2, MB)] * 3 + [file(3, 64 * MB)] * 9
    (found,) = crowded(files, target=128 * MB, at_least=4)
    assert (found.where, found.files, found.bytes) == ("event_date = DATE '2013-01-01'", 4, 4 * MB)
    assert crowded([], target=MB, at_least=2) == []


def test_a_table_without_partitions_is_one():
    (found,) = crowded([{"partition": {}, "bytes": 1, "rows": 1}] * 2, target=MB, at_least=2)
    assert (found.where, found.files) == ("", 2)


def with_settings(warehouse: Warehouse, **changes: object) -> Warehouse:
    """The same tables under other settings, impossible ones as well."""
    settings = warehouse.pipeline.maintenance.model_copy(update=changes)
    return Warehouse(
        warehouse.root, warehouse.pipeline.model_copy(update={"maintenance": settings})
    )


def ids(warehouse: Warehouse, name: str, version: int | None = None) -> list[str]:
    rows = warehouse.read(name, version).select("instance_id").toArrow()
    return sorted(rows["instance_id"].to_pylist())


@pytest.fixture
def crowd(loop, tmp_path) -> Warehouse:
    """A copy of the loop's tables in which six writers have left a small file each."""
    warehouse = copied(loop["warehouse"], tmp_path)
    for number in range(6):
        path = warehouse.path("forward_records")
        write_deltalake(path, records(f"server-{number}", 3), mode="append")
    return warehouse


def test_small_files_are_compacted_once_and_every_row_stays(crowd):
    before = ids(crowd, "forward_records"), versions(crowd)
    planned = maintain(crowd, ["forward_records"], dry_run=True)["tables"]["forward_records"]
    assert (planned["compacted_files"], planned["compacted_partitions"]) == (6, 1)
    assert versions(crowd) == before[1]
    done = maintain(crowd, ["forward_records", "sampled"])
    report = done["tables"]["forward_records"]
    assert report["files"][1] == report["files"][0] - 5
    assert planned["files"] == report["files"]
    assert ids(crowd, "forward_records") == before[0]
    assert done["tables"]["sampled"]["version"] == before[1]["sampled"]
    actions = pa.table(Snapshot(crowd.path("forward_records")).get_add_actions(flatten=True))
    for bound in ("num_records", "min.event_time", "max.event_time", "min.model_version"):
        assert actions[bound].null_count == 0, bound  # what a window is pruned by
    assert maintain(crowd, ["forward_records"])["status"] == "already done"


@pytest.mark.slow
@pytest.mark.nightly
def test_unused_files_go_and_pinned_versions_stay_readable(crowd):
    pins = pinned_refreshes(crowd, datetime.now(UTC))
    newest = pins[refresh_id(crowd.pipeline, LOOPED[1])]
    pinned = newest.inputs.versions["forward_records"]
    then, loose = ids(crowd, "forward_records", pinned), crowd.version("forward_records") - 1
    without_delay = with_settings(crowd, unused_files="1s")
    report = maintain(without_delay, ["forward_records"])["tables"]["forward_records"]
    assert pinned in report["kept_versions"]
    assert loose not in report["kept_versions"]
    assert report["deleted_files"] == 6
    assert ids(crowd, "forward_records", pinned) == then
    with pytest.raises(Exception, match="does not exist"):
        ids(crowd, "forward_records", loose)
    again = select_day(without_delay, LOOPED[1], rebuild=True)
    assert (again["status"], again["sample_digest"]) == ("done", newest.sample_digest)


def test_what_a_running_job_may_read_is_not_deleted(crowd):
    running = crowd.version("forward_records")
    then = ids(crowd, "forward_records", running)
    report = maintain(crowd, ["forward_records"])["tables"]["forward_records"]
    assert (report["compacted_files"], report["deleted_files"]) == (6, 0)
    assert ids(crowd, "forward_records", running) == then


def test_rows_that_are_due_expire_by_partition_and_pinned_refreshes_keep_theirs(crowd):
    keep = crowd.pipeline.maintenance.keep.model_copy(
        update={"forward_records": "60d", "refreshes": "60d"}
    )
    # Nothing is young on a day of next year; what stays is the newest of each policy.
    later = datetime.now(UTC) + timedelta(days=365)
    expiring = with_settings(crowd, keep=keep, unused_files="1s")
    names = ["forward_records", "sampled"]
    planned = maintain(expiring, names, now=later, dry_run=True)["tables"]
    tables = maintain(expiring, names, now=later)["tables"]
    for name in names:
        for key in ("expired_rows", "expired_partitions", "compacted_files", "files", "bytes"):
            assert planned[name][key] == tables[name][key], (name, key)
    assert ids(crowd, "forward_records") == []
    assert tables["forward_records"]["expired_partitions"] == 3
    settings = Snapshot(crowd.path("forward_records")).metadata().configuration
    assert settings["delta.appendOnly"] == "true"
    refresh_ids = {f["partition"]["refresh_id"] for f in crowd.files("sampled")}
    newest = refresh_id(crowd.pipeline, LOOPED[1])
    assert newest in refresh_ids
    assert refresh_id(crowd.pipeline, LOOPED[0]) not in refresh_ids
    again = select_day(expiring, LOOPED[1])
    assert again["status"] == "already done"
    assert open_refresh(crowd.root, crowd.pipeline, newest).drawn == again["drawn"]
    read = manifest_of(crowd, newest).inputs.versions["forward_records"]
    assert len(ids(crowd, "forward_records", read)) > 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('unused_files = "3d"', ["maintenance.unused_files", "3d", "at least 7d", "Remedy"]),
        ('reproduce = "500d"', ["maintenance.reproduce", "500d", "at most"]),
        ('keep = { forward_records = "28d" }', ["maintenance.keep.forward_records", "28"]),
    ],
)
def test_law_7_settings_that_would_take_files_or_rows_from_a_job_are_refused(tmp_path, line, words):
    path = tmp_path / "p.toml"
    path.write_text(Path(PIPELINE).read_text() + f"\n[maintenance]\n{line}\n")
    with pytest.raises(ConfigurationError) as refused:
        load_pipeline(path)
    assert [word for word in words if word not in str(refused.value)] == []


def test_law_7_a_pinned_refresh_that_does_not_exist_is_refused(loop):
    warehouse = with_settings(loop["warehouse"], pinned=["2013-01-01-no-such"])
    with pytest.raises(ConfigurationError, match=r"maintenance\.pinned = '2013-01-01-no-such'"):
        maintain(warehouse, dry_run=True)


def test_maintenance_settings_do_not_change_a_sample():
    pipeline = load_pipeline(PIPELINE)
    other = pipeline.model_copy(update={"maintenance": Maintenance(min_files=9)})
    assert other.selection_digest() == pipeline.selection_digest()


WRITERS = 8


def started(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    line = [sys.executable, "-m", "tests.helpers.writers", *arguments]
    with log.open("ab") as file:
        return subprocess.Popen(line, cwd=root, env=environment, stdout=file, stderr=file)


@pytest.mark.slow
@pytest.mark.nightly
def test_law_2_eight_writers_a_compaction_and_a_selection_at_once(loop, tmp_path):
    """Four Spark writers in two processes, four recorders in four: nothing lost, nothing double."""
    warehouse = copied(loop["warehouse"], tmp_path)
    there = len(ids(warehouse, "forward_records"))
    digest = loop["days"][1]["select"]["sample_digest"]
    root, log = warehouse.root, tmp_path / "writers.log"
    writers = [started(log, "spark", root, *pair) for pair in ("01", "23")]
    writers += [started(log, "recorder", root, writer) for writer in "4567"]
    compactions = 0
    with ThreadPoolExecutor(max_workers=1) as pool:
        selection = pool.submit(select_day, warehouse, LOOPED[1], force=True)
        while any(writer.poll() is None for writer in writers):
            crowded_soon = with_settings(warehouse, unused_files="7d", min_files=2)
            done = maintain(crowded_soon, ["forward_records"])["tables"]["forward_records"]
            compactions += done["compacted_files"] > 0
        assert selection.result()["sample_digest"] == digest
    assert [writer.returncode for writer in writers] == [0] * 6, log.read_text()[-5000:]
    assert compactions > 0
    found = warehouse.read("forward_records").where(F.col("event_date") == F.lit(DAY))
    assert found.count() == found.select("instance_id").distinct().count()
    assert found.count() == WRITERS * COMMITS * ROWS
    assert len(ids(warehouse, "forward_records")) == there + found.count()
