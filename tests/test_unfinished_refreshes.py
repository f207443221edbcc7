"""Law 2 for a refresh as a whole: whatever was ended or overtaken, its tables are of one draw."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.errors import ConflictError
from schemas.manifests import find_manifest
from spark_jobs.refresh.claims import claimed, is_unfinished, numbered
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import copied, manifest_of
from tests.helpers.small_warehouse import DAYS, filled
from trainer.data.refresh import open_refresh

DS = DAYS[2]
REPLACE = Warehouse.replace_refresh


@pytest.fixture(scope="module")
def selected(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Three days of everything, the last one selected."""
    made = filled(tmp_path_factory.mktemp("selected"))
    select_day(made, DS)
    return made


@pytest.fixture
def warehouse(selected: Warehouse, tmp_path: Path) -> Warehouse:
    """A copy of it, to be changed."""
    return copied(selected, tmp_path)


def drawn(warehouse: Warehouse, name: str) -> list[str]:
    """The instances of the refresh that a table has as trained on."""
    rows = warehouse.read(name).where(F.col("refresh_id") == refresh_id(warehouse.pipeline, DS))
    rows = rows.where("drawn") if name == "selection_probabilities" else rows
    return sorted(row.instance_id for row in rows.select("instance_id").collect())


def of_one_draw(warehouse: Warehouse, digest: str) -> bool:
    """Whether tables and manifest are of the draw with this digest."""
    manifest = manifest_of(warehouse, refresh_id(warehouse.pipeline, DS))
    open_refresh(warehouse.root, warehouse.pipeline, manifest.refresh_id)
    files = {file["path"] for file in warehouse.files("sampled")}
    named = {file.path.removeprefix("sampled/") for file in manifest.sampled.files}
    sample = drawn(warehouse, "sampled")
    same = sample == drawn(warehouse, "selection_probabilities")
    counted = len(sample) == manifest.counts.drawn
    return manifest.sample_digest == digest and same and counted and named <= files


def other_labels(warehouse: Warehouse) -> None:
    """Labels as they were not: a draw from here on is another one."""
    known = warehouse.read("labels")
    changed = known.withColumns(
        {"known_at": F.col("known_at") + F.expr("INTERVAL 1 SECOND"), "sold": 1 - F.col("sold")}
    )
    warehouse.append_once(changed, "labels", "corrections")


def ends_at(table: str) -> Callable[[Warehouse, DataFrame, str, str], int]:
    """`replace_refresh` of a process that is killed before it writes a table."""

    def replaced(warehouse: Warehouse, rows: DataFrame, name: str, of: str) -> int:
        if name == table:
            raise KeyboardInterrupt
        return REPLACE(warehouse, rows, name, of)

    return replaced


def killed(monkeypatch: pytest.MonkeyPatch, at: str, warehouse: Warehouse, **how: bool) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "replace_refresh", ends_at(at))
        with pytest.raises(KeyboardInterrupt):
            select_day(warehouse, DS, **how)


@pytest.mark.parametrize("at", ["sampled", "refreshes"])
def test_a_forced_run_that_is_killed_is_done_to_its_end_by_a_plain_one(
    warehouse, at, monkeypatch
) -> None:
    before = select_day(warehouse, DS)["sample_digest"]
    other_labels(warehouse)
    killed(monkeypatch, at, warehouse, force=True)
    assert not of_one_draw(warehouse, before)
    again = select_day(warehouse, DS)
    assert (again["status"], again["sample_digest"] != before) == ("done", True)
    assert of_one_draw(warehouse, again["sample_digest"])
    assert select_day(warehouse, DS)["status"] == "already done"


def test_a_rebuild_that_is_killed_ends_with_the_sample_of_the_manifest(warehouse, monkeypatch):
    before = select_day(warehouse, DS)["sample_digest"]
    other_labels(warehouse)
    killed(monkeypatch, "refreshes", warehouse, rebuild=True)
    again = select_day(warehouse, DS)
    assert (again["status"], again["sample_digest"]) == ("done", before)
    assert of_one_draw(warehouse, before)


def test_a_forced_run_that_is_killed_before_it_writes_has_changed_nothing(warehouse):
    before = select_day(warehouse, DS)["sample_digest"]
    claimed(warehouse, refresh_id(warehouse.pipeline, DS))
    again = select_day(warehouse, DS)
    assert (again["status"], again["sample_digest"]) == ("already done", before)


def test_of_two_runs_at_once_one_wins_whole(warehouse, monkeypatch):
    """Both take their number before either has written; the first to claim it is the only one."""
    seed = warehouse.pipeline.selection.model_copy(update={"seed": 99})
    other = replace(warehouse, pipeline=warehouse.pipeline.model_copy(update={"selection": seed}))
    together = Barrier(2)

    def number(of: Warehouse, name: str) -> Warehouse:
        found = numbered(of, name)
        together.wait(60)
        return found

    monkeypatch.setattr("spark_jobs.select_sample.numbered", number)
    with ThreadPoolExecutor(max_workers=2) as pool:
        runs = [pool.submit(select_day, other, DS) for _ in range(2)]
    failed = [run.exception() for run in runs]
    (refused,) = (error for error in failed if error is not None)
    assert isinstance(refused, ConflictError)
    assert f"refresh {refresh_id(other.pipeline, DS)}: another run" in str(refused)
    won = next(run.result() for run in runs if run.exception() is None)
    assert of_one_draw(other, won["sample_digest"])


@pytest.mark.slow
@pytest.mark.nightly
def test_a_run_that_another_overtakes_leaves_nothing_behind(warehouse, monkeypatch):
    """The slow one has written its rows; the fast one begins, draws otherwise and ends."""
    slow, written, go_on = replace(warehouse), Event(), Event()
    select_day(warehouse, DS)

    def replaced(of: Warehouse, rows: DataFrame, name: str, refresh: str) -> int:
        if name == "refreshes" and not written.is_set():
            written.set()
            assert go_on.wait(120)
        return REPLACE(of, rows, name, refresh)

    monkeypatch.setattr(Warehouse, "replace_refresh", replaced)
    with ThreadPoolExecutor(max_workers=1) as pool:
        late = pool.submit(select_day, slow, DS, force=True)
        assert written.wait(120)
        other_labels(warehouse)
        won = select_day(warehouse, DS, force=True)
        go_on.set()
        with pytest.raises(ConflictError, match="another run changed the table meanwhile"):
            late.result()
    assert of_one_draw(warehouse, won["sample_digest"])
    manifest = find_manifest(warehouse.path("refreshes"), won["refresh_id"])
    assert manifest is not None
    assert not is_unfinished(warehouse, manifest)
