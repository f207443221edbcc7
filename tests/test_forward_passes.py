"""Law 8: forward passes are counted once, whatever the records, the days and the versions; and what
a budget of backward passes for each of them comes to.

An instance counts in the first refresh of a policy whose pinned input holds it.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable as Snapshot

from reference.plain_tables import create
from schemas.allowance import Allowance
from schemas.errors import ConfigurationError, NoDataError
from schemas.manifests import Manifest, find_manifest
from schemas.pipeline import Pipeline
from schemas.sections.budget import Budget, parse_budget
from schemas.tables import all_tables
from spark_jobs import backfill
from spark_jobs.refresh import forward_passes as counting
from spark_jobs.refresh.affordable import affordable
from spark_jobs.refresh.forward_passes import (
    forward_passes,
    of_policy,
    predecessor,
)
from spark_jobs.refresh.plan import refresh_id, window_start
from spark_jobs.select_sample import _planned, select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.counted_records import (
    WINDOW,
    append,
    day,
    manifest,
    pipeline_with,
    plan_of,
    record,
    without_rows,
)
from tests.helpers.trainer_tables import small_pipeline, write_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return without_rows(tmp_path)


def count(root: Path, number: int, version: int, before: Manifest | None) -> int:
    pipeline = pipeline_with()
    warehouse = Warehouse(str(root), pipeline)
    first = window_start(pipeline, day(number))
    return forward_passes(warehouse, first, day(number), version, [before] if before else [])


# --- the count ---


def test_an_instance_counts_once_however_many_records_it_left(root):
    version = append(root, record("a", 1), record("a", 1, "2"), record("a", 1, "3"))
    version = append(root, record("a", 1), record("b", 1))  # "a" imported again
    assert count(root, 1, version, None) == 2


def test_only_what_the_refresh_before_has_not_seen_counts(root):
    early = append(root, record("a", 1), record("b", 2))
    before = manifest(pipeline_with(), 2, early)
    late = append(root, record("b", 2, "2"), record("c", 2), record("d", 3))
    assert count(root, 3, late, before) == 2  # "c" came late for the 2nd; "b" was answered again
    assert count(root, 3, early, before) == 0


def test_what_has_left_the_window_and_comes_again_is_as_new(root):
    """Of an id that is used for another event the input of the refresh before tells nothing."""
    version = append(root, record("a", 1), record("a", 6))
    assert count(root, 6, version, manifest(pipeline_with(), 5, version)) == 1
    assert count(root, 6, version, manifest(pipeline_with(), 3, version)) == 0


@pytest.mark.parametrize("way", ["here", "on Spark", "on Spark, in shards"])
def test_both_ways_of_counting_agree_with_the_obvious_one(root, spark, monkeypatch, way):
    """Random records over six days, in appends, with a compaction in between."""
    random = np.random.default_rng(6)
    if way != "here":
        monkeypatch.setattr(counting, "HERE", -1)
        monkeypatch.setattr(counting, "SHARD_ROWS", 7 if "shards" in way else 1 << 20)
    there: list[tuple[int, str, int]] = []  # version, instance, day
    pipeline, before = pipeline_with(), None
    for number in range(1, 7):
        rows = [
            (f"id{random.integers(60)}", int(random.integers(max(1, number - 2), number + 1)))
            for _ in range(20)
        ]
        version = append(root, *(record(*row, str(random.integers(1, 3))) for row in rows))
        there += [(version, *row) for row in rows]
        if number == 4:
            Snapshot(str(root / "forward_records")).optimize.compact()
            version = Snapshot(str(root / "forward_records")).version()
        own = ids(there, version, number)
        new = own - (ids(there, before.inputs.versions["forward_records"], before.ds.day)
                     if before else set())  # fmt: skip
        assert count(root, number, version, before) == len(new), number
        before = manifest(pipeline, number, version)


def test_ids_that_share_one_of_their_two_hashes_are_told_apart():
    rows = [(5, 1, False), (5, 2, False), (5, 1, True), (5, 2, False), (6, 1, False), (-7, 3, True)]
    batch = pa.RecordBatch.from_pylist(
        [dict(zip(("one", "other", "seen"), row, strict=True)) for row in rows]
    )
    [told] = counting._unseen([batch.slice(0, 4), batch.slice(4)])
    assert told.to_pylist() == [{"unseen": 2}]  # (5, 2) and (6, 1)
    assert list(counting._unseen([])) == []


def ids(there: list[tuple[int, str, int]], version: int, number: int) -> set[str]:
    """The instances of the window of a day at a version."""
    days = range(number - WINDOW + 1, number + 1)
    return {name for at, name, on in there if at <= version and on in days}


@pytest.mark.parametrize("way", ["here", "on Spark"])
def test_of_an_expired_version_what_had_been_recorded_by_then_counts(
    root, spark, monkeypatch, caplog, way
):
    if way == "on Spark":
        monkeypatch.setattr(counting, "HERE", -1)
    version = append(root, record("a", 1), record("b", 2))
    append(root, record("c", 2))
    table = Snapshot(str(root / "forward_records"))
    table.optimize.compact()
    now = Snapshot(str(root / "forward_records")).version()
    late = record("d", 2) | {"recorded_at": datetime(2013, 2, 3, 5, tzinfo=UTC)}
    now = append(root, late)
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with caplog.at_level("WARNING"):
        assert count(root, 3, now, manifest(pipeline_with(), 2, version)) == 1
    assert "has expired" in caplog.text


# --- the predecessor ---


def test_the_predecessor_is_the_newest_of_the_policy_with_an_earlier_date(root):
    mine, other = pipeline_with(), small_pipeline(selection={"policy": "obftf"})
    for pipeline, number in ((mine, 2), (other, 3), (mine, 4), (pipeline_with(0.25), 3)):
        write_manifest(root, manifest(pipeline, number, 0))
    made = of_policy(Warehouse(str(root), mine), "uniform")
    found = predecessor(made, day(4))
    assert found is not None
    assert found.refresh_id == refresh_id(pipeline_with(0.25), day(3))
    assert predecessor(made, day(2)) is None


def test_days_that_were_selected_side_by_side_are_counted_again(root, monkeypatch):
    pipeline = pipeline_with()
    version = append(root, record("a", 1), record("b", 2), record("c", 3))
    for number, forward in ((1, 1), (2, 2), (3, 3)):  # none saw the day before
        allowance = Allowance(forward, None, backward_passes=4, epochs=2, pulls=1)
        write_manifest(root, manifest(pipeline, number, version, allowance))
    written: list[Manifest] = []
    monkeypatch.setattr(backfill, "write_manifest", lambda _, one: written.append(one))
    names = [refresh_id(pipeline, day(number)) for number in (1, 2, 3)]
    backfill._recount(Warehouse(str(root), pipeline), dict.fromkeys(names))
    found = {one.ds.day: one.allowance for one in written}
    told = {n: (one.forward_passes, one.predecessor) for n, one in found.items() if one}
    first, second = (refresh_id(pipeline, day(number)) for number in (1, 2))
    assert told == {2: (1, first), 3: (1, second)}


# --- a budget in backward passes ---


def paid(root: Path, pipeline: Pipeline, number: int, version: int) -> tuple[Budget, Allowance]:
    warehouse = Warehouse(str(root), pipeline)
    plan = plan_of(pipeline, number, version)
    return affordable(warehouse, plan, parse_budget(pipeline.selection.budget))


@pytest.mark.parametrize(
    ("budget", "training", "rows", "carried"),
    [
        ("0.1 per forward pass", {"epochs": 1}, 10, 0.0),
        ("0.1 per forward pass", {"epochs": 3}, 3, 1.0),
        ("0.1 per forward pass", {"epochs": 2, "pulls": [0.1, 0.2]}, 2, 2.0),
        ("0.125 per forward pass", {"epochs": 1}, 12, 0.5),
        ("1 per forward pass", {"epochs": 1}, 100, 0.0),
        ("22.4 per forward pass", {"epochs": 8}, 280, 0.0),
        ("0.3 per forward pass", {"epochs": 3}, 10, 0.0),  # 29.999999999999996 / 3
    ],
)
def test_rows_are_amount_times_forward_passes_over_epochs_and_pulls(
    root, budget, training, rows, carried
):
    version = append(root, *(record(f"id{n}", 1) for n in range(100)))
    pipeline = pipeline_with(budget)
    changed = pipeline.training.model_copy(update=training)
    pipeline = pipeline.model_copy(update={"training": changed})
    found, allowance = paid(root, pipeline, 1, version)
    assert (found.rows(10_000), found.unit) == (rows, "rows")
    assert allowance.carried == pytest.approx(carried)
    assert allowance.forward_passes == 100
    assert found.rows(5) == min(rows, 5)  # fewer candidates than that: all of them
    planned = allowance.for_rows(rows).backward_passes
    assert planned == rows * pipeline.training.passes


def test_the_remainder_below_a_row_is_carried_and_not_lost(root):
    """0.1 of 7 a day, a row at 1: 0.7, so no row; 1.4 on the second; 0.4 + 0.7, ..."""
    pipeline = pipeline_with("0.1 per forward pass")
    pipeline = pipeline.model_copy(
        update={"training": pipeline.training.model_copy(update={"epochs": 1})}
    )
    drawn, forward = [], 0
    for number in range(1, 22):
        version = append(root, *(record(f"{number}-{n}", number) for n in range(7)))
        forward += 7
        try:
            budget, allowance = paid(root, pipeline, number, version)
        except NoDataError:
            drawn.append(0)
            continue
        rows = budget.rows(10_000)
        drawn.append(rows)
        write_manifest(root, manifest(pipeline, number, version, allowance.for_rows(rows)))
    assert drawn[:4] == [0, 1, 1, 0]
    assert sum(drawn) == int(forward / 10)


def test_a_budget_that_comes_to_no_row_says_what_a_row_costs(root):
    version = append(root, *(record(f"id{n}", 1) for n in range(10)))
    with pytest.raises(NoDataError, match=r"of 10 forward passes .* a row costs 2 .* Remedy"):
        paid(root, pipeline_with("0.1 per forward pass"), 1, version)


def test_a_day_without_a_row_has_nothing_to_do_and_no_refresh(root, monkeypatch):
    for table in all_tables(pipeline_with()).values():
        if not Snapshot.is_deltatable(str(root / table.name)):
            create(root, table)
    append(root, *(record(f"id{n}", 1) for n in range(10)))
    pipeline = pipeline_with("0.1 per forward pass")
    told = select_day(Warehouse(str(root), pipeline), day(1))
    assert told["status"] == "nothing to do"
    assert "a row costs 2" in told["reason"]
    assert find_manifest(str(root / "refreshes"), refresh_id(pipeline, day(1))) is None
    planned = _planned(Warehouse(str(root), pipeline), day(1), again=False)
    assert (planned["status"], planned["reason"]) == ("nothing to do", told["reason"])


def test_other_budgets_have_their_forward_passes_counted_too(root):
    version = append(root, *(record(f"id{n}", 1) for n in range(10)))
    budget, allowance = paid(root, pipeline_with(0.5), 1, version)
    assert budget == Budget(0.5, "share")
    assert allowance == Allowance(10, None, 0, epochs=2, pulls=1)


@pytest.mark.parametrize(
    "text", ["0 per forward pass", "-0.1 per forward pass", "0.1 per pass", "nan per forward pass"]
)
def test_a_budget_of_nothing_is_refused(text):
    with pytest.raises(ConfigurationError, match=r"budget = .* Remedy"):
        parse_budget(text)


def test_draw_asks_for_rows_since_it_knows_no_forward_passes():
    with pytest.raises(ConfigurationError, match=r"0\.1 per forward pass.*needs a warehouse"):
        parse_budget("0.1 per forward pass").rows(100)


def test_other_epochs_and_pulls_are_another_selection_where_the_budget_hangs_on_them():
    for budget, hangs in (("0.1 per forward pass", True), ("1 gpu hours", True), (0.1, False)):
        first, second = pipeline_with(budget), pipeline_with(budget, epochs=3)
        assert (first.selection_digest() != second.selection_digest()) == hangs, budget


def test_a_manifest_keeps_its_allowance(root):
    allowance = Allowance(100, "earlier", backward_passes=20, epochs=2, pulls=1, carried=0.5)
    one = manifest(pipeline_with(), 1, 0, allowance)
    write_manifest(root, one)
    assert find_manifest(str(root / "refreshes"), one.refresh_id) == one
