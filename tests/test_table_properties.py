"""What tables are held to: append-only ones are closed, pinned versions and dropped files stay."""

import json
import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from schemas.manifests import Inputs, Manifest, Part, RowCounts
from schemas.sections.maintenance import Keep, Maintenance
from spark_jobs import create_tables
from spark_jobs.maintain import maintain
from spark_jobs.storage import retention
from spark_jobs.storage.properties import APPEND_ONLY, DROPPED, LOG, give, lacking, length_of
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.small_warehouse import DAYS, append, filled, instances, labels
from tests.helpers.trainer_tables import write_manifest

DAY_S = 24 * 3600
DEFAULTS = {LOG: "interval 400 days", DROPPED: "interval 30 days"}


def manifest(warehouse: Warehouse, refresh_id: str, ds: date = DAYS[2]) -> Manifest:
    """A refresh that pins the tables as they are."""
    versions = {name: warehouse.version(name) for name in ("labels", "instances")}
    return Manifest(
        refresh_id=refresh_id,
        pipeline=warehouse.pipeline.name,
        policy="uniform",
        ds=ds,
        seed=1,
        config="{}",
        config_digest="none",
        inputs=Inputs(ds, datetime(2026, 2, 4, tzinfo=UTC), versions),
        counts=RowCounts(0, 0, 0, 0),
        sampled=Part(warehouse.version("sampled")),
        holdout=Part(warehouse.version("holdout")),
        sample_digest="none",
        report={},
        created_at=datetime.now(UTC),
    )


def with_maintenance(warehouse: Warehouse, **settings: object) -> Warehouse:
    changed = warehouse.pipeline.model_copy(update={"maintenance": Maintenance(**settings)})
    return Warehouse(warehouse.root, changed)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Three days of everything and a refresh, the retention of every table as it is made."""
    made = filled(tmp_path)
    write_manifest(Path(made.root), manifest(made, "first"))
    for name in made.tables:
        give(made.path(name), DEFAULTS)
    return made


def properties(warehouse: Warehouse, name: str) -> dict[str, str]:
    return Snapshot(warehouse.path(name)).metadata().configuration


# --- append-only ---


def test_a_table_that_a_killed_run_left_open_is_closed_by_the_next(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(warehouse.path("forward_records"), {APPEND_ONLY: "false"})
    planned = maintain(warehouse, ["forward_records"], dry_run=True)
    assert planned["tables"]["forward_records"]["properties"] == {APPEND_ONLY: "true"}
    assert properties(warehouse, "forward_records")[APPEND_ONLY] == "false"
    assert maintain(warehouse, ["forward_records"])["status"] == "done"
    assert properties(warehouse, "forward_records")[APPEND_ONLY] == "true"
    assert maintain(warehouse, ["forward_records"])["status"] == "already done"


def test_init_closes_it_too(warehouse: Warehouse) -> None:
    give(warehouse.path("forward_rejects"), {APPEND_ONLY: "false"})
    assert create_tables.restore(warehouse)["forward_rejects"][APPEND_ONLY] == "true"
    assert properties(warehouse, "forward_rejects")[APPEND_ONLY] == "true"
    assert create_tables.restore(warehouse) == {}


# --- rows that expire ---


def test_the_manifests_of_refreshes_that_expire_stay(warehouse: Warehouse) -> None:
    expiring = with_maintenance(warehouse, keep=Keep(refreshes="1d"))
    tables = maintain(expiring)["tables"]
    assert tables["refreshes"]["expired_rows"] == 0
    assert [one.refresh_id for one in retention.read_manifests(warehouse.path("refreshes"))]


# --- what is pinned ---


def aged(path: str, days: float, of: str = "_delta_log/*") -> None:
    then = time.time() - days * DAY_S
    for file in Path(path).glob(of):
        os.utime(file, (then, then))


def year_of_commits(warehouse: Warehouse, name: str) -> None:
    """The log grows old, and more commits come, a checkpoint and its cleanup."""
    aged(warehouse.path(name), 500)
    for _ in range(2):
        append(warehouse, name, labels(instances(DAYS[:1], 1)))
        table = Snapshot(warehouse.path(name))
        table.create_checkpoint()
        table.cleanup_metadata()


def is_there(warehouse: Warehouse, name: str, version: int) -> bool:
    try:
        Snapshot(warehouse.path(name), version=version)
    except DeltaError:
        return False
    return True


@pytest.mark.parametrize("pinned", [True, False])
def test_what_is_pinned_outlives_the_log_s_retention(warehouse: Warehouse, pinned: bool) -> None:
    version = warehouse.version("labels")
    append(warehouse, "labels", labels(instances(DAYS[:1], 1)))
    write_manifest(Path(warehouse.root), manifest(warehouse, "later", date(2026, 3, 1)))
    if pinned:
        maintain(with_maintenance(warehouse, pinned=["first"]))
    year_of_commits(warehouse, "labels")
    assert is_there(warehouse, "labels", version) == pinned
    assert len(retention.readable(warehouse, "labels", [version])) == pinned


def test_the_log_is_kept_while_a_version_that_is_pinned_is_in_it(warehouse: Warehouse) -> None:
    """The newest of a policy, and what the champion learnt from, are pinned without a name."""
    maintain(warehouse)
    assert properties(warehouse, "labels")[LOG] == DEFAULTS[LOG]
    aged(warehouse.path("labels"), 250)
    assert maintain(warehouse)["tables"]["labels"]["properties"] == {LOG: "interval 600 days"}
    aged(warehouse.path("labels"), 390)
    append(warehouse, "labels", labels(instances(DAYS[:1], 1)))
    assert maintain(warehouse)["tables"]["labels"]["properties"] == {}


@pytest.mark.parametrize("kept", [True, False])
def test_unused_files_are_kept_for_as_long_as_the_setting_says(tmp_path: Path, kept: bool) -> None:
    warehouse = filled(tmp_path)
    path = warehouse.path("features/shelves")
    give(path, DEFAULTS)
    settings = with_maintenance(warehouse, unused_files="60d" if kept else "30d")
    maintain(settings)
    (before,) = Snapshot(path).file_uris()
    rows = Snapshot(path).to_pyarrow_table()
    write_deltalake(path, rows, mode="overwrite")
    dropped_before(path, 40)
    aged(path, 100, "*.parquet")
    for _ in range(2):
        write_deltalake(path, rows.slice(0, 1), mode="append")
        Snapshot(path).create_checkpoint()
    maintain(settings)
    assert Path(before).exists() == kept


def dropped_before(path: str, days: int) -> None:
    """Let the newest commit have dropped its files so long ago."""
    commit = Path(path) / "_delta_log" / f"{Snapshot(path).version():020}.json"
    actions = [json.loads(line) for line in commit.read_text().splitlines()]
    for action in actions:
        if "remove" in action:
            action["remove"]["deletionTimestamp"] -= days * DAY_S * 1000
    commit.write_text("\n".join(map(json.dumps, actions)) + "\n")


def test_a_longer_retention_of_the_user_s_stays(warehouse: Warehouse) -> None:
    path = warehouse.path("labels")
    give(path, {LOG: "interval 90 weeks"})
    assert lacking(path, {LOG: "interval 600 days"}) == {}
    assert lacking(path, {LOG: "interval 700 days"}) == {LOG: "interval 700 days"}
    assert length_of("interval 2 weeks") == timedelta(days=14)
    assert length_of("as long as it takes") is None
