"""`tenforward explain`: one instance through records, labels, refreshes and models; what drawing
again comes to equals what the refresh has stored."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake

import tenforward
from console.explain import explain
from schemas.errors import NoDataError
from schemas.manifests import Decided, read_manifests
from schemas.tables import all_tables
from spark_jobs.candidates.arrow_narrow import held_out
from spark_jobs.explained.candidacy import candidacy
from spark_jobs.explained.learners import learners
from spark_jobs.explained.pinned import GoneError, Pinned, with_keys_of
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import PIPELINE

FIRST, SECOND, LAST = small.DAYS
SELECTION = {
    "window_days": 3,
    "budget": 0.4,
    "strata": {"segment": "shop", "min_share": 0.45},
    "max_reject_share": 0.2,
}
HELD_OUT = next(
    one["instance_id"]
    for one in small.instances([FIRST, SECOND])
    if held_out(pa.array([one["instance_id"]]), 0.1)[0]
)


def free(day: Any) -> list[str]:
    """The instances of a day that are not held out."""
    ids = [one["instance_id"] for one in small.instances([day])]
    return [one for one in ids if not held_out(pa.array([one]), 0.1)[0]]


NO_RECORD, NO_LABEL, BROKEN, TWICE, CORRECTED, ORPHAN = free(SECOND)[:6]
LATE = free(FIRST)[0]


def tables() -> dict[str, list[dict[str, Any]]]:
    """Sound rows but for those of the ids above."""
    instances = small.instances()
    records = [one for one in small.records(instances) if one["instance_id"] != NO_RECORD]
    labels = [one for one in small.labels(instances) if one["instance_id"] != NO_LABEL]
    by_id = {one["instance_id"]: one for one in records}
    by_id[BROKEN]["prediction"] = float("nan")
    by_id[LATE]["recorded_at"] += timedelta(days=2)  # nothing is known of its model: in sample
    again = {"model_version": "2", "batch_id": "again", "prediction": 3.0}
    later = {"recorded_at": by_id[TWICE]["recorded_at"] + timedelta(days=1)}
    label = next(one for one in labels if one["instance_id"] == CORRECTED)
    corrected = {"known_at": label["known_at"] + timedelta(hours=1), "sold": 1 - label["sold"]}
    return {
        "instances": [one for one in instances if one["instance_id"] != ORPHAN],
        "records": [*records, by_id[TWICE] | again | later],
        "labels": [*labels, label | corrected],
    }


@pytest.fixture(scope="module")
def shops(spark, tmp_path_factory) -> Warehouse:
    """Three days of two shops, selected from on the last two."""
    pipeline = small.pipeline(selection=SELECTION)
    warehouse = small.filled(tmp_path_factory.mktemp("shops"), pipeline, **tables())
    for day in (SECOND, LAST):
        assert select_day(warehouse, day)["status"] == "done"
    return warehouse


def told(warehouse: Warehouse, instance_id: str) -> list[dict[str, Any]]:
    """What each refresh made of the instance, oldest first."""
    return explain(warehouse.pipeline, warehouse.root, instance_id)["refreshes"]


def stored(warehouse: Warehouse) -> dict[str, dict[str, dict[str, Any]]]:
    """The rows of `selection_probabilities` by refresh and instance."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for row in warehouse.read("selection_probabilities").toArrow().to_pylist():
        rows.setdefault(row["refresh_id"], {})[row["instance_id"]] = row
    return rows


def test_law_1_every_candidate_drawn_again_equals_what_is_stored(shops):
    kept = ("score", "probability", "weight", "offset", "position", "label", "loss")
    for refresh_id, candidates in stored(shops).items():
        some = sorted(candidates)[::4]
        assert {candidates[one]["drawn"] for one in some} == {True, False}
        for one in some:
            [found] = explain(shops.pipeline, shops.root, one, refresh_id)["refreshes"]
            assert found["recomputed"] == "equal", found
            assert {name: found[name] for name in kept} == {
                name: candidates[one][name] for name in kept
            }
            assert found["outcome"] == ("drawn" if candidates[one]["drawn"] else "not drawn")


def test_the_steps_lead_from_the_score_to_the_weight(shops):
    rows = stored(shops)
    [refresh_id] = [one for one in rows if one.startswith(str(LAST))]
    drawn = next(one for one in sorted(rows[refresh_id]) if rows[refresh_id][one]["drawn"])
    [found] = explain(shops.pipeline, shops.root, drawn, refresh_id)["refreshes"]
    assert found["score_name"] == "residual-norm"
    assert "|p - y|" in found["formula"]
    assert found["size"] == pytest.approx(found["score"] / found["mean_score"])
    share = (1 - found["floor"]) * min(1.0, found["c"] * found["size"]) + found["floor_share"]
    assert found["probability"] == pytest.approx(min(1.0, share))
    assert found["floor_share"] == pytest.approx(
        0.2 * found["stratum_budget"] / found["stratum_candidates"]
    )
    assert found["stratum"] in ("north", "south")
    assert found["capped"] == (found["c"] * found["size"] >= 1)
    whole = found["weight_before_calibration"] * found["multiplier"]
    assert found["weight"] == pytest.approx(whole)
    assert f"probability {found['probability']:.6g}" in found["why"]


@pytest.mark.parametrize(
    ("instance_id", "outcome", "why"),
    [
        (HELD_OUT, "held out", "hash of its id"),
        (NO_RECORD, "no record", "forward record"),
        (NO_LABEL, "unmatured", "as soon as it is known"),
        (BROKEN, "rejected", "not-finite"),
        (ORPHAN, "rejected", "no-instance"),
    ],
)
def test_what_is_no_candidate_says_why(shops, instance_id, outcome, why):
    for found in told(shops, instance_id):
        assert (found["outcome"], found["recomputed"]) == (outcome, "equal")
        assert why in found["why"]


def test_a_reject_is_shown_with_its_reason(shops):
    rejects = explain(shops.pipeline, shops.root, BROKEN)["forward_rejects"]
    assert {one["reason"] for one in rejects} == {"not-finite"}
    assert all("NaN" in one["means"] for one in rejects)


def test_the_record_out_of_sample_serves_and_says_so(shops):
    result = explain(shops.pipeline, shops.root, TWICE)
    assert [one["model_version"] for one in result["forward_records"]] == ["1", "2"]
    for found in result["refreshes"]:
        assert (found["model_version"], found["in_sample"]) == ("1", False)
        assert "out of sample" in found["served_because"]
        assert found["recorded_at"] == result["forward_records"][0]["recorded_at"]


def test_where_every_record_is_in_sample_the_newest_serves(shops):
    for found in told(shops, LATE):
        assert found["in_sample"]
        assert "in sample" in found["served_because"]
        assert found["weighting"] == "inverse"  # on_records: an offset would be wrong


def test_the_label_that_counted_is_the_last_known_at_the_cut(shops):
    result = explain(shops.pipeline, shops.root, CORRECTED)
    first, last = result["labels"]
    for found in result["refreshes"]:
        assert found["label"] == last["sold"] != first["sold"]
        assert found["label_known_at"] == last["known_at"]


def test_a_record_that_came_later_is_not_seen_by_a_refresh_before(shops, tmp_path):
    root = shutil.copytree(shops.root, tmp_path / "warehouse")
    warehouse = Warehouse(str(root), shops.pipeline)
    [asked] = [one for one in small.instances() if one["instance_id"] == NO_RECORD]
    small.append(warehouse, "forward_records", small.records([asked]))
    result = explain(warehouse.pipeline, warehouse.root, NO_RECORD)
    assert len(result["forward_records"]) == 1
    assert {one["outcome"] for one in result["refreshes"]} == {"no record"}


def rewritten(
    warehouse: Warehouse, folder: Path, name: str, change: Callable[[pa.Table], pa.Table]
) -> Warehouse:
    """A copy in which a table was written anew, changed, and what it was before deleted."""
    copy = Warehouse(str(shutil.copytree(warehouse.root, folder / name)), warehouse.pipeline)
    table = all_tables(copy.pipeline)[name]
    schema = pa.schema([field.with_nullable(True) for field in table.arrow_schema])
    rows = change(copy.read(name).toArrow().cast(schema))
    by = list(table.partition_by)
    write_deltalake(copy.path(name), rows, mode="overwrite", partition_by=by)
    wiped = {"retention_hours": 0, "enforce_retention_duration": False}
    Snapshot(copy.path(name)).vacuum(dry_run=False, **wiped)
    return copy


def one_more(rows: pa.Table) -> pa.Table:
    """The same with scores that are larger by 1."""
    at = rows.column_names.index("score")
    return rows.set_column(at, rows.schema.field("score"), pc.add(rows["score"], 1.0))


@pytest.mark.parametrize("name", ["instances", "forward_records", "labels"])
def test_what_was_deleted_is_told_and_the_stored_row_stays(shops, tmp_path, name):
    before, after = (
        told(shops, TWICE),
        told(rewritten(shops, tmp_path, name, pa.Table.slice), TWICE),
    )
    for was, found in zip(before, after, strict=True):
        assert found["recomputed"] == "not possible"
        assert f"of {name} is not whole any more" in found["not_recomputed_because"]
        kept = ("outcome", "score", "probability", "weight", "offset", "position")
        assert {one: found[one] for one in kept} == {one: was[one] for one in kept}


def test_what_was_altered_is_told_with_both_values(shops, tmp_path):
    altered = rewritten(shops, tmp_path, "selection_probabilities", one_more)
    for found in told(altered, TWICE):
        assert found["recomputed"] == "differs"
        assert found["differs"]["score"]["stored"] == found["differs"]["score"]["recomputed"] + 1
        assert list(found["differs"]) == ["score"]


def pinned(warehouse: Warehouse, **changed: Any) -> Pinned:
    """The refresh of the last day, its manifest changed."""
    manifest = read_manifests(warehouse.path("refreshes"))[0]
    return Pinned.of(replace(manifest, **changed), warehouse.pipeline, warehouse.root)


def test_what_this_release_cannot_draw_is_told_with_the_reason(shops):
    earlier = Decided(budget="0.1", engine=1)
    with pytest.raises(GoneError, match="version 1 of the selection engine; this release has"):
        pinned(shops, decided=earlier)
    with pytest.raises(GoneError, match="configuration is that of another release"):
        pinned(shops, config='{"selection": {"temperature": 3}}')


@pytest.mark.parametrize(
    ("section", "outcome", "why"),
    [
        ({"selection": SELECTION | {"forward_days": 1}}, "forward day", "days after 2026-02-02"),
        ({"labels": {"maturity": "delay", "after": "3d"}}, "unmatured", "event is 3d old"),
    ],
    ids=["a day to judge by", "a label that must wait"],
)
def test_a_rule_that_keeps_a_day_out_is_named(shops, section, outcome, why):
    known = json.loads(pinned(shops).manifest.config)
    changed = {name: known[name] | values for name, values in section.items()}
    found = candidacy(pinned(shops, config=json.dumps(known | changed)), free(LAST)[0], LAST)
    assert found.outcome == outcome
    assert why in found.why


def test_segment_keys_are_those_of_the_instances_where_they_were_defined_anew():
    asked = pa.table(
        {"instance_id": ["b", "c", "a"], "origin": ["JFK", None, "LGA"], "tail": ["1", "2", "3"]}
    )
    records = pa.table({"instance_id": ["a", "b", "c", "nobody"], "segments": [["x"]] * 4})
    keys = with_keys_of(asked, records, ["origin", "tail"])["segments"].to_pylist()
    assert keys == [["LGA", "3"], ["JFK", "1"], ["", "2"], ["", ""]]


def test_an_id_that_nobody_has_is_refused(shops):
    with pytest.raises(NoDataError, match="no table has such an instance"):
        explain(shops.pipeline, shops.root, "2026-02-02/none")


def test_a_refresh_of_another_window_is_refused_with_those_there_are(shops):
    with pytest.raises(NoDataError, match=str(LAST)):
        explain(shops.pipeline, shops.root, TWICE, "2026-01-01-calibrated-0")


TAGS = {
    "1": {"refresh_id": "boot", "sample_digest": "b", "parent_version": "none", "promoted": "x"},
    "2": {"refresh_id": "r", "sample_digest": "d", "parent_version": "1"},
    "3": {"refresh_id": "s", "sample_digest": "e", "parent_version": "2", "promoted": "x"},
    "4": {"refresh_id": "r", "sample_digest": "older", "parent_version": "1"},
    "10": {"refresh_id": "s", "sample_digest": "e", "parent_version": "3"},
}


def test_models_learn_from_a_refresh_and_from_the_versions_that_they_begin_with():
    assert learners(TAGS, {"r": "d"}) == [
        {"version": "2", "refresh_id": "r", "how": "trained on it", "promoted": False},
        {"version": "3", "refresh_id": "r", "how": "began with version 2", "promoted": True},
        {"version": "10", "refresh_id": "r", "how": "began with version 2", "promoted": False},
    ]
    assert learners(TAGS, {}) == []


# --- real flights, with offsets, sketches and a registry ---


def test_a_flight_is_followed_from_its_record_to_the_models(loop, capfd):
    warehouse, select = loop["warehouse"], loop["days"][1]["select"]
    trained = loop["days"][1]["train"]
    rows = stored(warehouse)[select["refresh_id"]]
    drawn = next(one for one in sorted(rows) if rows[one]["drawn"] and rows[one]["offset"])
    where = ["--pipeline", PIPELINE, "--warehouse", warehouse.root]
    assert tenforward.main(["explain", drawn, *where]) == 0
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert [one["refresh_id"] for one in result["refreshes"]][-1] == select["refresh_id"]
    assert {one["recomputed"] for one in result["refreshes"]} == {"equal"}
    found = result["refreshes"][-1]
    for name in ("probability_negative", "probability_positive", "offset", "weight"):
        assert found[name] == rows[drawn][name]
    assert found["multiplier"] != 1.0
    assert trained["version"] in {one["version"] for one in result["models"]}
    assert f"{select['refresh_id']}: drawn" in err


def test_a_flight_of_the_first_refresh_says_that_no_record_decided_it(loop):
    warehouse = loop["warehouse"]
    first = loop["bootstrap"]["refresh_id"]
    one = sorted(stored(warehouse)[first])[0]
    [found] = explain(warehouse.pipeline, warehouse.root, one, first)["refreshes"]
    assert (found["outcome"], found["recomputed"]) == ("drawn", "not possible")
    assert "no record decided it" in found["not_recomputed_because"]
    assert found["weight"] == 1.0
    models = explain(warehouse.pipeline, warehouse.root, one, first)["models"]
    assert models[0]["how"] == "trained on it"
