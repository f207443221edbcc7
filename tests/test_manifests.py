"""The manifest: what it pins, in which form, and what becomes of older and newer ones."""

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from schemas.errors import ConfigurationError, DataQualityError
from schemas.manifests import (
    FORMAT,
    Decided,
    Inputs,
    Manifest,
    Part,
    RowCounts,
    StoredFile,
    find_manifest,
    read_manifests,
)
from schemas.tables import forward_records, refreshes
from spark_jobs import create_tables
from spark_jobs.refresh import decided as refresh_decided
from spark_jobs.refresh.decided import decided_then
from spark_jobs.refresh.parts import sha256_of
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from spark_jobs.storage.widen import widen
from tests.helpers.flights_loop import LOOPED, PIPELINE, manifest_of
from tests.helpers.small_warehouse import DAYS, filled, instances, records
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_manifest, write_refresh
from trainer.data.refresh import open_refresh

NEW = ["format", "decided", "probabilities_version", "holdout_files", "ledger"]  # since format 1
FULL = Manifest(
    refresh_id="2013-02-07-mixture-c0dec0de",
    pipeline="flights",
    policy="mixture",
    ds=date(2013, 2, 7),
    seed=4711,
    config="{}",
    config_digest="c0de" * 16,
    inputs=Inputs(date(2013, 2, 1), datetime(2013, 2, 8, tzinfo=UTC), {"labels": 9}),
    counts=RowCounts(candidates=900, drawn=90, held_out=12, rejected=3),
    sampled=Part(5, (StoredFile("sampled/refresh_id=x/a b.parquet", 90, 4096, "5eed" * 16),)),
    holdout=Part(6, (StoredFile("holdout/refresh_id=x/c.parquet", 12, 1024, "feed" * 16),)),
    sample_digest="5eed" * 16,
    report={"candidates": 900, "budget": 90, "drawn": 90, "mixture": {"used": {"loss": 1.0}}},
    created_at=datetime(2013, 2, 8, 3, tzinfo=UTC),
    decided=Decided("90 rows", 1, {"loss": 1.0}, "2013-02-06-mixture-c0dec0de", ("1", "2")),
    probabilities_version=4,
)


def test_what_was_written_is_read(tmp_path):
    write_manifest(tmp_path, FULL)
    bare = replace(FULL, refresh_id="bare", decided=None, probabilities_version=None)
    write_manifest(tmp_path, bare)
    place = str(tmp_path / "refreshes")
    assert find_manifest(place, FULL.refresh_id) == FULL
    assert find_manifest(place, "bare") == bare
    assert find_manifest(place, "none") is None
    assert read_manifests(place, policy="uniform") == []


def test_one_of_format_1_is_read_without_what_it_did_not_know(tmp_path):
    [row] = FULL.to_table().to_pylist()
    row["files"] = json.dumps([{"path": "refresh_id=x/a%20b.parquet", "rows": 90, "bytes": 4096}])
    older = pa.schema([field for field in refreshes().arrow_schema if field.name not in NEW])
    place = str(tmp_path / "refreshes")
    write_deltalake(place, pa.Table.from_pylist([row], schema=older))
    assert find_manifest(place, FULL.refresh_id) == replace(
        FULL,
        sampled=Part(5, (StoredFile("sampled/refresh_id=x/a b.parquet", 90, 4096),)),
        holdout=Part(6),
        decided=None,
        probabilities_version=None,
        format=1,
    )


def test_one_of_a_later_format_is_refused_by_name(tmp_path):
    write_manifest(tmp_path, replace(FULL, format=FORMAT + 1))
    with pytest.raises(ConfigurationError, match=rf"{FULL.refresh_id}: .* format 3.* Remedy"):
        read_manifests(str(tmp_path / "refreshes"))


def test_every_file_has_the_checksum_of_its_bytes(loop):
    warehouse = loop["warehouse"]
    for day in loop["days"]:
        manifest = manifest_of(warehouse, day["select"]["refresh_id"])
        assert len(manifest.holdout.files) == 1
        for file in (*manifest.sampled.files, *manifest.holdout.files):
            content = (Path(warehouse.root) / file.path).read_bytes()
            assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_bit_that_flips_before_the_manifest_is_written_is_refused(twin: Warehouse):
    """The sums that Hadoop took while it wrote lie beside the file."""
    file = manifest_of(twin, refresh_id(twin.pipeline, LOOPED[1])).sampled.files[0]
    place = Path(twin.root) / file.path
    assert sha256_of(str(place)) == file.sha256
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    with pytest.raises(DataQualityError, match=r"not those that were written\. Remedy"):
        sha256_of(str(place))


def test_places_are_relative_so_that_a_warehouse_can_be_moved(tmp_path):
    write_refresh(tmp_path / "here", pipeline := small_pipeline(), "first", random_rows(100))
    shutil.move(tmp_path / "here", tmp_path / "there")
    refresh = open_refresh(str(tmp_path / "there"), pipeline, "first")
    assert sum(file.rows for file in refresh.sampled) == 100
    assert all(Path(file.path).is_relative_to(tmp_path / "there") for file in refresh.sampled)


def test_a_rebuild_uses_what_the_manifest_pins_and_nothing_else(twin: Warehouse, monkeypatch):
    """Trainings since may have other speeds, the registry other versions, and both decide."""
    name = refresh_id(twin.pipeline, LOOPED[1])
    before = manifest_of(twin, name)
    assert before.decided is not None
    assert before.decided.model_versions is not None

    def looked_up(*_: object) -> None:
        raise AssertionError("a rebuild looks nothing up")

    monkeypatch.setattr(refresh_decided, "affordable", looked_up)
    monkeypatch.setattr(refresh_decided, "models_of", looked_up)
    assert select_day(twin, LOOPED[1], rebuild=True)["sample_digest"] == before.sample_digest
    assert manifest_of(twin, name).decided == before.decided


def test_what_another_engine_drew_is_not_rebuilt_but_named(loop):
    warehouse = loop["warehouse"]
    before = manifest_of(warehouse, loop["days"][1]["select"]["refresh_id"])
    assert before.decided is not None
    other = replace(before, decided=replace(before.decided, engine=0))
    with pytest.raises(ConfigurationError, match=r"drawn by version 0 .* Remedy: rebuild it with"):
        decided_then(other)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_warehouse_of_format_1_is_widened_by_init_and_goes_on(twin: Warehouse, capfd):
    place = twin.path("refreshes")
    older = [manifest.to_table() for manifest in read_manifests(place)]
    shutil.rmtree(place)
    write_deltalake(place, pa.concat_tables(older).drop_columns(NEW))
    with pytest.raises(
        ConfigurationError, match=r"table refreshes, column format.*tenforward init"
    ):
        select_day(twin, LOOPED[1])
    assert create_tables.main(["--pipeline", PIPELINE, "--warehouse", twin.root]) == 0
    assert json.loads(capfd.readouterr().out)["added"] == [f"refreshes.{name}" for name in NEW]
    # The first version of the engine drew whatever has a manifest of format 1.
    with pytest.raises(ConfigurationError, match=r"by version 1 .*rebuild it with tenforward 0.1"):
        select_day(twin, LOOPED[1], rebuild=True)
    again = select_day(twin, LOOPED[1], force=True)
    assert again["status"] == "done"
    assert manifest_of(twin, again["refresh_id"]).format == FORMAT
    assert {manifest.format for manifest in read_manifests(place)} == {1, FORMAT}


def test_a_version_from_before_a_column_is_read_with_nulls(spark: SparkSession, tmp_path: Path):
    """As a rebuild reads it, once `init` has added the column."""
    warehouse = filled(tmp_path)
    place, table = warehouse.path("forward_records"), forward_records()
    shutil.rmtree(place)
    fields = [field.with_nullable(True) for field in table.arrow_schema]
    older = pa.schema([field for field in fields if field.name != "statistics"])
    rows = pa.Table.from_pylist(records(instances(DAYS[:1], 10)), older)
    write_deltalake(place, rows, partition_by=list(table.partition_by))
    assert widen(warehouse) == ["forward_records.statistics"]
    then, now = warehouse.read("forward_records", 0), warehouse.read("forward_records")
    assert then.where("statistics IS NULL").count() == 10
    assert then.schema["statistics"].dataType == now.schema["statistics"].dataType


@pytest.mark.slow
@pytest.mark.nightly
def test_a_rebuild_keeps_the_limits_of_its_checks(twin: Warehouse):
    """They are no part of the configuration that a refresh is named by."""
    before = select_day(twin, LOOPED[1])
    check = twin.pipeline.check.model_copy(update={"coverage": 0.123})
    other = replace(twin, pipeline=twin.pipeline.model_copy(update={"check": check}))
    report = manifest_of(twin, before["refresh_id"]).report
    assert select_day(other, LOOPED[1], rebuild=True)["status"] == "done"
    now = manifest_of(twin, before["refresh_id"]).report
    assert (now["coverage"], now["freshness"]) == (report["coverage"], report["freshness"])
