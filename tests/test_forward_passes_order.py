"""Law 8, when days are not selected in order, or not from windows of one width, or once more: each
forward pass is paid for once."""

from dataclasses import replace
from pathlib import Path

import pytest

from schemas.allowance import Allowance
from schemas.manifests import Inputs, Manifest
from schemas.sections.budget import Budget
from spark_jobs import backfill
from spark_jobs.refresh.affordable import affordable
from spark_jobs.refresh.forward_passes import (
    counted_before,
    forward_passes,
    predecessor,
)
from spark_jobs.refresh.plan import cut_of, refresh_id, window_start
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.counted_records import (
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


def test_a_wider_window_counts_nothing_that_earlier_refreshes_have_counted(root):
    """After windows of two days one of five: the predecessor's does not reach as far back."""
    narrow, wide = pipeline_with(), small_pipeline(selection={"window_days": 5})
    version = append(root, *(record(name, on) for on, name in enumerate("abcde", 1)))
    made = [
        replace(manifest(narrow, number, version), inputs=Inputs(
            day(number - 1), cut_of(day(number)), {"forward_records": version}
        ))
        for number in (4, 2)
    ]  # fmt: skip
    warehouse, last = Warehouse(str(root), wide), day(5)
    assert forward_passes(warehouse, day(1), last, version, made) == 1  # "e"
    assert forward_passes(warehouse, day(1), last, version, made[:1]) == 3  # and "a", "b"
    late = append(root, record("f", 2))
    assert forward_passes(warehouse, day(1), last, late, made) == 2


def test_a_day_that_a_later_refresh_has_passed_over_pays_for_nothing_twice(root):
    """The 3rd was selected while the 2nd had failed: it has counted from the 1st on."""
    pipeline = pipeline_with()
    version = append(root, record("a", 1), record("b", 2), record("c", 3))
    first = manifest(pipeline, 1, version, Allowance(1, None, 0, 1, 1))
    third = manifest(pipeline, 3, version, Allowance(2, first.refresh_id, 0, 1, 1))
    made = [third, first]
    assert predecessor(made, day(2)) == first
    assert counted_before(made, day(2)) == made
    warehouse, start = Warehouse(str(root), pipeline), window_start(pipeline, day(2))
    assert forward_passes(warehouse, start, day(2), version, made) == 0
    late = append(root, record("d", 2))
    assert forward_passes(warehouse, start, day(2), late, made) == 1
    # What the one that came later in time had not seen, the one before it may have.
    scored = append(root, record("e", 2))
    again = manifest(pipeline, 2, scored, Allowance(2, first.refresh_id, 0, 1, 1))
    assert forward_passes(warehouse, start, day(2), scored, [third, again, first]) == 0
    # The 2nd, once it is there, is made anew from what the 1st has left.
    second = manifest(pipeline, 2, version, Allowance(0, first.refresh_id, 0, 1, 1))
    after = manifest(pipeline, 3, version, Allowance(1, second.refresh_id, 0, 1, 1))
    assert counted_before([after, second, first], day(2)) == [first]


def test_law_8_a_gap_that_is_filled_in_turn_is_paid_for_once(root):
    """The 1st is selected, then, the machine having been away, the 4th; then the others in turn,
    whose records come with them; then the 5th."""
    pipeline, made = pipeline_with(), list[Manifest]()
    warehouse = Warehouse(str(root), pipeline)
    told: dict[int, int] = {}
    for number in (1, 4, 2, 3, 5):
        version = append(root, *(record(f"{number}/{one}", number) for one in range(10)))
        made.sort(key=lambda one: one.ds, reverse=True)
        before, counted = predecessor(made, day(number)), counted_before(made, day(number))
        start = window_start(pipeline, day(number))
        told[number] = forward_passes(warehouse, start, day(number), version, counted)
        name = None if before is None else before.refresh_id
        made.append(manifest(pipeline, number, version, Allowance(told[number], name, 0, 1, 1)))
    assert told == dict.fromkeys((1, 4, 2, 3, 5), 10)


@pytest.mark.parametrize("first", [(1, 4, 2, 3), (1, 2, 3, 4), (4, 3, 2, 1)])
@pytest.mark.parametrize("scored", ["all before", "day by day"])
def test_law_8_refreshes_that_are_made_anew_lose_and_double_no_forward_pass(root, first, scored):
    """In any order of days, and again in any, with a record more that came late."""
    pipeline, made = pipeline_with(), dict[int, Manifest]()
    warehouse = Warehouse(str(root), pipeline)

    def select(number: int, version: int) -> None:
        there = sorted(made.values(), key=lambda one: one.ds, reverse=True)
        _, allowance = affordable(
            warehouse, plan_of(pipeline, number, version), Budget(5, "rows"), there
        )
        made[number] = manifest(pipeline, number, version, allowance)

    def records(number: int) -> int:
        return append(root, *(record(f"{number}/{one}", number) for one in range(10)))

    def counted() -> int:
        return sum(one.allowance.forward_passes for one in made.values() if one.allowance)

    if scored == "all before":
        version = max(records(number) for number in first)
    for number in first:
        select(number, version if scored == "all before" else records(number))
    assert counted() == 40
    late = append(root, record("late", 3))
    for number in (2, 3, 4, 1, 4):
        select(number, late)
    assert counted() == 41


def test_law_8_days_made_anew_side_by_side_count_a_late_record_once(root, monkeypatch):
    """Each of them read the manifests before the other had written its own."""
    pipeline = pipeline_with()
    warehouse = Warehouse(str(root), pipeline)
    version = append(root, *(record(f"{number}/{one}", number) for number in (1, 2, 3)
                             for one in range(10)))  # fmt: skip
    names = [refresh_id(pipeline, day(number)) for number in (1, 2, 3)]
    then = {
        name: manifest(pipeline, number, version, Allowance(10, before, 0, 1, 1))
        for number, (name, before) in enumerate(zip(names, [None, *names], strict=False), 1)
    }
    late = append(root, record("late", 2))
    now = {
        name: manifest(pipeline, one.ds.day, late, replace(one.allowance, forward_passes=11))
        for name, one in then.items()
        if one.allowance and one.ds.day > 1
    }
    for one in (then[names[0]], *now.values()):
        write_manifest(root, one)
    written: list[Manifest] = []
    monkeypatch.setattr(backfill, "write_manifest", lambda _, one: written.append(one))
    backfill._recount(warehouse, {name: then[name] for name in names[1:]})
    told = {one.ds.day: one.allowance.forward_passes for one in written if one.allowance}
    assert {2: 11, 3: 11} | told == {2: 11, 3: 10}
