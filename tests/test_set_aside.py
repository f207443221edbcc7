"""`tenforward set-aside`: instances with a wrong label are drawn no more, from a version on."""

import json
import shutil
from typing import Any

import pytest
from deltalake import DeltaTable as Snapshot

import tenforward
from console.explain import explain
from console.set_aside import set_aside
from schemas.errors import ConfigurationError, NoDataError
from schemas.set_aside import ids_set_aside, rows_set_aside, version_set_aside
from schemas.tables import all_tables
from spark_jobs.bootstrap import bootstrap
from spark_jobs.check import check
from spark_jobs.days.outlook import outlook
from spark_jobs.maintain import maintain
from spark_jobs.refresh.decided import decide
from spark_jobs.refresh.plan import plan_refresh
from spark_jobs.report.card import render
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import manifest_of

FIRST, SECOND, LAST = small.DAYS
WRONG, ALSO = f"{SECOND}/3", f"{LAST}/4"
SAID = {"reason": "label swapped", "by": "ada"}


@pytest.fixture
def shops(tmp_path) -> Warehouse:
    """Sound tables, without the optional one."""
    warehouse = small.filled(tmp_path, small.pipeline())
    shutil.rmtree(warehouse.path("set_aside"))
    return warehouse


def aside(warehouse: Warehouse, *ids: str, **said: Any) -> dict[str, Any]:
    return set_aside(warehouse.pipeline, warehouse.root, ids, **(SAID | said))


def now(warehouse: Warehouse) -> list[str]:
    return ids_set_aside(warehouse.root, version_set_aside(warehouse.root))


def candidates(warehouse: Warehouse, refresh_id: str) -> set[str]:
    rows = warehouse.read("selection_probabilities").where(f"refresh_id = '{refresh_id}'")
    return set(rows.toArrow()["instance_id"].to_pylist())


# --- the command and its table ---


def test_the_newest_row_of_an_instance_counts_and_every_row_stays(shops):
    assert now(shops) == []
    assert aside(shops, WRONG, ALSO)["set_aside"] == [WRONG, ALSO]
    assert now(shops) == sorted([WRONG, ALSO])
    done = aside(shops, WRONG, reason="it was right", undo=True)
    assert (done["taken_back"], done["all_set_aside"]) == ([WRONG], 1)
    assert now(shops) == [ALSO]
    aside(shops, WRONG, reason="wrong after all")
    told = [(row["aside"], row["reason"]) for row in rows_set_aside(shops.root)]
    assert len(told) == 4
    assert told[-1] == (True, "wrong after all")
    assert ids_set_aside(shops.root, 2) == [ALSO]  # as it was then


def test_law_2_what_is_as_wished_already_is_left_alone(shops):
    first = aside(shops, WRONG)
    again = aside(shops, WRONG, WRONG)
    assert (again["status"], again["already"]) == ("already done", [WRONG])
    assert again["version"] == first["version"]
    assert aside(shops, ALSO, undo=True)["status"] == "already done"


def test_law_7_ids_that_nobody_has_are_refused_and_nothing_is_written(shops):
    with pytest.raises(NoDataError, match=r"ID = 2026-02-02/none: .*Remedy: "):
        aside(shops, WRONG, f"{SECOND}/none")
    assert now(shops) == []
    with pytest.raises(ConfigurationError, match=r"--reason = ' ': empty"):
        aside(shops, WRONG, reason=" ")


def test_the_table_that_the_command_makes_is_the_one_of_the_definition(shops):
    aside(shops, WRONG)
    place = {"set_aside": shops.path("set_aside")}
    assert check(shops.pipeline, place)["findings"] == []
    table = Snapshot(shops.path("set_aside"))
    assert table.metadata().configuration["delta.appendOnly"] == "true"
    assert "set_aside" in all_tables(shops.pipeline)


def test_the_command_line_says_what_it_did(shops, tmp_path, capfd):
    file = tmp_path / "shops.toml"
    file.write_text(FILE)
    where = ["--pipeline", str(file), "--warehouse", shops.root]
    said = ["--reason", "label swapped", "--by", "ada"]
    assert tenforward.main(["set-aside", WRONG, ALSO, *where, *said]) == 0
    assert json.loads(capfd.readouterr().out)["set_aside"] == [WRONG, ALSO]
    assert tenforward.main(["set-aside", "nobody", *where, *said]) == 3


FILE = """
name = "shops"
task = "binary"
holdout = 0.1

[instances]
segments = ["shop"]
columns = { shop = { type = "string" }, price = { type = "float32" } }

[labels]
label = "sold"
columns = { sold = { type = "float64" } }

[features]
price = { kind = "number" }
"""


# --- selection ---


@pytest.mark.slow
@pytest.mark.nightly
def test_what_was_set_aside_is_no_candidate_and_is_counted(spark, shops):
    before = select_day(shops, LAST)
    there = candidates(shops, before["refresh_id"])
    assert {WRONG, ALSO} <= there
    assert "set_aside" not in manifest_of(shops, before["refresh_id"]).inputs.versions
    aside(shops, WRONG, ALSO)
    # The dry run, `due` and the draw count alike.
    seen = outlook(shops.pipeline, shops.root, [LAST]).candidates(LAST, frozenset())
    assert seen == len(there) - 2
    after = select_day(shops, LAST, force=True)
    assert candidates(shops, after["refresh_id"]) == there - {WRONG, ALSO}
    manifest = manifest_of(shops, after["refresh_id"])
    assert manifest.inputs.versions["set_aside"] == version_set_aside(shops.root)
    assert manifest.report["set_aside"] == 2
    assert after["coverage"] == before["coverage"]  # both have been answered
    assert "set aside" in render(manifest.report)
    held = shops.read("holdout").toArrow()["instance_id"].to_pylist()
    assert after["held_out"] == before["held_out"] == len(set(held))
    # Taken back, a refresh of then is still what it was.
    aside(shops, WRONG, undo=True)
    rebuilt = select_day(shops, LAST, rebuild=True)
    assert rebuilt["sample_digest"] == after["sample_digest"]
    explained(shops)


def explained(warehouse: Warehouse) -> None:
    """`explain` tells of one that was set aside, and draws the others as the refresh did."""
    result = explain(warehouse.pipeline, warehouse.root, WRONG)
    assert [row["aside"] for row in result["set_aside"]] == [True, False]
    [found] = result["refreshes"]
    assert (found["outcome"], found["recomputed"]) == ("set aside", "equal")
    [other] = explain(warehouse.pipeline, warehouse.root, f"{LAST}/5")["refreshes"]
    assert other["recomputed"] == "equal"


def test_the_first_refresh_leaves_them_out_too(spark, shops):
    aside(shops, WRONG)
    refresh_id = bootstrap(shops, FIRST, LAST)["refresh_id"]
    drawn = candidates(shops, refresh_id)
    assert ALSO in drawn
    assert WRONG not in drawn


def test_a_warehouse_without_the_table_is_maintained_and_checked(spark, shops):
    assert "set_aside" not in maintain(shops, dry_run=True)["tables"]
    places = {name: shops.path(name) for name in shops.tables}
    found = {one["table"] for one in check(shops.pipeline, places)["findings"]}
    assert "set_aside" not in found
    plan = plan_refresh(shops, LAST)
    assert "set_aside" not in plan.versions
    assert decide(shops, plan)
