"""`labels.weight` through the tables: from labels as they arrive to what trains and judges."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable as Snapshot

from console.explain import explain
from schemas.columns import TYPES
from schemas.conformance import differences
from schemas.errors import DataQualityError
from schemas.manifests import Decided, find_manifest
from schemas.pipeline import Pipeline
from schemas.reasons import BAD_WEIGHT, LABEL_DIFFERS
from schemas.tables import all_tables
from spark_jobs.bootstrap import bootstrap
from spark_jobs.candidates.arrow_narrow import held_out
from spark_jobs.days.chance import drawn_by_chance
from spark_jobs.days.newly_matured import newly_matured
from spark_jobs.days.outlook import Reading, outlook
from spark_jobs.history.data import Data
from spark_jobs.history.records import look_at_labels
from spark_jobs.monitor import monitor
from spark_jobs.refresh.plan import plan_refresh
from spark_jobs.select_sample import select_day
from spark_jobs.selection.draw import draw
from spark_jobs.selection.engine import ENGINE
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small
from trainer.data.reader import read_holdout
from trainer.data.refresh import open_refresh
from trainer.data.table import feature_columns, read_refresh

FIRST, SECOND, LAST = small.DAYS
LABELS = {
    "label": "sold",
    "weight": "cost",
    "columns": {"sold": {"type": "float64"}, "cost": {"type": "float64"}},
}
HELD_OUT = 0.3
SELECTION = {"window_days": 3, "budget": 0.4, "max_reject_share": 0.2}
FREE = [
    one["instance_id"]
    for one in small.instances()
    if not held_out(pa.array([one["instance_id"]]), HELD_OUT)[0]
]
NEGATIVE, NULL, NOT_A_NUMBER, TWICE, CORRECTED, NOTHING = FREE[:6]

pytestmark = pytest.mark.slow


def labels() -> list[dict[str, Any]]:
    """Sound but for the weights of the ids above; a later row corrects one."""
    rows = [
        row | {"cost": 1.0 + number % 4}
        for number, row in enumerate(small.labels(small.instances()))
    ]
    by_id = {row["instance_id"]: row for row in rows}
    by_id[NEGATIVE]["cost"] = -2.0
    by_id[NULL]["cost"] = None
    by_id[NOT_A_NUMBER]["cost"] = float("nan")
    by_id[NOTHING]["cost"] = 0.0
    other = by_id[TWICE] | {"cost": 7.0}
    later = {"known_at": by_id[CORRECTED]["known_at"] + timedelta(hours=1), "cost": 9.0}
    return [*rows, other, by_id[CORRECTED] | later]


COSTS = {row["instance_id"]: row["cost"] for row in labels()}
USABLE = [one for one in FREE if one not in (NEGATIVE, NULL, NOT_A_NUMBER, TWICE)]


@pytest.fixture(scope="module")
def shops(spark, tmp_path_factory) -> Warehouse:
    """Three days of two shops, selected from on the last."""
    of = small.pipeline(labels=LABELS, selection=SELECTION, holdout=HELD_OUT)
    warehouse = small.filled(tmp_path_factory.mktemp("shops"), of, labels=labels())
    assert select_day(warehouse, LAST)["status"] == "done"
    return warehouse


def refresh_of(warehouse: Warehouse) -> str:
    return plan_refresh(warehouse, LAST).refresh_id


def given() -> pa.Table:
    """The candidates as `draw` takes them."""
    by_id = {row["instance_id"]: row for row in labels()}
    rows = [
        {
            "instance_id": row["instance_id"],
            "prediction": row["prediction"],
            "segments": row["segments"],
            "label": by_id[row["instance_id"]]["sold"],
            "row_weight": COSTS[row["instance_id"]],
        }
        for row in small.records(small.instances())
        if row["instance_id"] in USABLE
    ]
    return pa.Table.from_pylist(rows)


def test_law_1_the_refresh_is_what_draw_draws_from_the_same_rows(shops):
    manifest = find_manifest(shops.path("refreshes"), refresh_of(shops))
    here = draw(given(), policy="calibrated", budget=0.4, seed=manifest.seed)
    there = shops.read("selection_probabilities").select(here.column_names).toArrow()
    assert there.sort_by("instance_id").to_pylist() == here.sort_by("instance_id").to_pylist()
    zero = next(row for row in here.to_pylist() if row["instance_id"] == NOTHING)
    assert zero["weight"] == 0.0


def test_law_2_labels_without_a_weight_are_rejects_with_their_reason(shops):
    rejects = shops.read("forward_rejects").select("instance_id", "reason").toArrow().to_pylist()
    found = sorted((row["reason"], row["instance_id"]) for row in rejects)
    wrong = [(BAD_WEIGHT, one) for one in (NEGATIVE, NULL, NOT_A_NUMBER)]
    assert found == sorted([*wrong, (LABEL_DIFFERS, TWICE), (LABEL_DIFFERS, TWICE)])


def test_check_and_due_see_the_same_labels(shops):
    told = look_at_labels(Data(shops, {"labels": shops.version("labels")}))
    assert {one.reason: one.count for one in told} == {BAD_WEIGHT: 3, LABEL_DIFFERS: 2}
    seen = outlook(shops.pipeline, shops.root, [LAST])
    assert seen.candidates(LAST, set()) == len(USABLE)
    assert sum(day.unusable for day in seen.days.values()) == 5
    new = newly_matured(shops.pipeline, shops.root, FIRST - timedelta(days=1), LAST)
    assert {*new.kept["instance_id"].to_pylist()} & {*FREE} == {*USABLE}


@pytest.mark.nightly
def test_the_monitor_counts_the_same_labels_each_once(shops):
    assert monitor(shops, FIRST, LAST)["status"] == "done"
    [whole] = [
        row
        for row in shops.read("performance").where("segment = 'all'").toArrow().to_pylist()
        if row["event_date"] == FIRST
    ]
    refused = sum(one.startswith(str(FIRST)) for one in (NEGATIVE, NULL, NOT_A_NUMBER, TWICE))
    assert whole["matured"] == small.A_DAY - refused


def test_a_plan_knows_how_many_rows_chance_will_draw(shops):
    changed = {"selection": SELECTION | {"policy": "selective-backprop"}}
    of = Pipeline.model_validate(shops.pipeline.model_dump() | changed)
    plan = plan_refresh(Warehouse(shops.root, of), LAST)
    drawn = drawn_by_chance(Reading.of(of, shops.root), plan, Decided("0.4", ENGINE))
    here, plain = (
        draw(rows, policy="selective-backprop", budget=0.4, seed=plan.seed)["drawn"].to_pylist()
        for rows in (given(), given().drop_columns(["row_weight"]))
    )
    assert drawn == sum(here)
    assert here != plain


def test_explain_draws_the_same_again_and_tells_the_weight(shops):
    [found] = explain(shops.pipeline, shops.root, CORRECTED, refresh_of(shops))["refreshes"]
    assert found["recomputed"] == "equal", found
    assert found["row_weight"] == 9.0
    assert "row weight 9" in found["why"]
    [refused] = explain(shops.pipeline, shops.root, NULL, refresh_of(shops))["refreshes"]
    assert refused["outcome"] == "unmatured"  # as with any label that cannot be used


def test_the_held_out_rows_carry_their_weight_to_the_trainer(shops):
    rows = read_refresh(shops.root, refresh_of(shops), "holdout")
    assert rows.num_rows > 2
    ids = rows["instance_id"].to_pylist()
    assert rows["row_weight"].to_pylist() == [COSTS[one] for one in ids]
    assert feature_columns(rows) == ["price", "width"]
    refresh = open_refresh(shops.root, shops.pipeline, refresh_of(shops))
    assert (
        read_holdout(shops.pipeline, refresh).rows.weight.tolist() == rows["row_weight"].to_pylist()
    )


def test_a_trainer_that_knows_no_offset_has_what_to_multiply_with(shops):
    rows = read_refresh(shops.root, refresh_of(shops))
    assert rows["row_weight"].to_pylist() == [COSTS[one] for one in rows["instance_id"].to_pylist()]
    assert feature_columns(rows) == ["price", "width"]


def test_law_1_rebuilt_it_is_the_same_sample(shops):
    before = find_manifest(shops.path("refreshes"), refresh_of(shops))
    assert select_day(shops, LAST, rebuild=True)["status"] == "done"
    after = find_manifest(shops.path("refreshes"), refresh_of(shops))
    assert after.sample_digest == before.sample_digest
    assert after.report["row_weight"]["zero"] == 1


def test_the_first_refresh_weighs_each_row_by_its_own(shops):
    done = bootstrap(shops, FIRST, LAST)
    rows = read_refresh(shops.root, done["refresh_id"])
    ids, weights = rows["instance_id"].to_pylist(), rows["weight"].to_pylist()
    assert sorted(ids) == sorted(USABLE)
    mean = sum(COSTS[one] for one in USABLE) / len(USABLE)
    assert weights == pytest.approx([COSTS[one] / mean for one in ids])
    kept = read_refresh(shops.root, done["refresh_id"], "holdout")
    assert kept["row_weight"].to_pylist() == [COSTS[one] for one in kept["instance_id"].to_pylist()]


def test_a_warehouse_from_before_the_setting_lacks_one_column(spark, tmp_path):
    plain = small.filled(tmp_path, small.pipeline(selection=SELECTION))
    weighted = all_tables(small.pipeline(labels=LABELS))["holdout"]
    [found] = differences(weighted, Snapshot(plain.path("holdout")))[:1]
    assert (found.what, found.expected) == ("column row_weight", TYPES["float32"].spark)
    assert "tenforward migrate" in found.remedy


def test_weights_that_are_all_0_are_refused_before_anything_is_written(spark, tmp_path):
    of = small.pipeline(labels=LABELS, selection=SELECTION)
    rows = [row | {"cost": 0.0} for row in small.labels(small.instances())]
    warehouse = small.filled(tmp_path, of, labels=rows)
    for job in (lambda: select_day(warehouse, LAST), lambda: bootstrap(warehouse, FIRST, LAST)):
        with pytest.raises(DataQualityError, match=r"row_weight = 0 of all .*Remedy: "):
            job()
    assert not warehouse.read("refreshes").count()
