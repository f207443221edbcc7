"""Real flights go through ingest, bootstrap, score, select, train: what stands afterwards."""

import json
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from reference.slow_candidates import candidates
from schemas.errors import NoDataError, TenforwardError
from schemas.manifests import find_manifest
from schemas.pipeline import Pipeline
from schemas.sections.budget import parse_budget
from spark_jobs import backfill, compare, select_sample
from spark_jobs.candidates.narrow import held_out, in_window
from spark_jobs.refresh.affordable import affordable
from spark_jobs.refresh.decided import decide
from spark_jobs.refresh.plan import plan_refresh, refresh_id
from spark_jobs.select_sample import select_day
from spark_jobs.selection import draw
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE, copied, manifest_of, versions

DS = LOOPED[1]


def rows(warehouse: Warehouse, name: str, of: str | None = None) -> pa.Table:
    frame = warehouse.read(name)
    return (frame if of is None else frame.where(F.col("refresh_id") == of)).toArrow()


def test_every_step_of_every_day_ran(loop):
    assert loop["trained"]["promoted"]
    for day in loop["days"]:
        assert [day[step]["status"] for step in ("score", "select", "train")] == ["done"] * 3
        assert day["score"]["rejected"] == 0
        assert day["select"]["drawn"] == round(0.1 * day["select"]["candidates"])


def test_each_instance_of_a_day_has_one_record_with_sketch_and_segments(loop):
    warehouse = loop["warehouse"]
    records = rows(warehouse, "forward_records").to_pandas()
    asked = rows(warehouse, "instances").to_pandas()
    asked = asked[
        asked.event_date.isin([str(day) for day in LOOPED]) | asked.event_date.isin(LOOPED)
    ]
    assert sorted(records.instance_id) == sorted(asked.instance_id)
    assert set(records.sketch.map(len)) == {16}
    keys = records.merge(asked, on="instance_id")
    assert [list(s) for s in keys.segments] == keys[["origin", "carrier"]].to_numpy().tolist()


def test_law_2_repeating_the_backfill_changes_no_table_version(loop):
    before = versions(loop["warehouse"])
    again = backfill.backfill(loop["warehouse"], *LOOPED)
    assert all(day[step]["status"] == "already done" for day in again for step in backfill.STEPS)
    assert versions(loop["warehouse"]) == before


@pytest.mark.slow
@pytest.mark.nightly
def test_law_1_selecting_a_day_anew_gives_the_same_digest(loop, tmp_path):
    first = loop["days"][1]["select"]
    again = select_day(copied(loop["warehouse"], tmp_path), DS, force=True)
    assert again["status"] == "done"
    assert again["sample_digest"] == first["sample_digest"]
    assert again["sampled"]["version"] > first["sampled"]["version"]


def test_law_1_draw_selects_row_for_row_what_the_job_selected(loop):
    warehouse = loop["warehouse"]
    plan = plan_refresh(warehouse, DS)
    window = in_window(warehouse.read("forward_records"), plan.window_start, DS)
    records = window.where(~held_out(0.05))
    good = candidates(records, warehouse.read("labels"), "late", plan.cut)
    drawn = draw(good.toArrow(), policy="calibrated", budget=0.1, seed=plan.seed)
    table = rows(warehouse, "selection_probabilities", plan.refresh_id)
    ordered = [("instance_id", "ascending")]
    assert table.select(drawn.column_names).sort_by(ordered).to_pylist() == (
        drawn.sort_by(ordered).to_pylist()
    )


def test_law_3_the_table_of_probabilities_sums_to_the_budget(loop):
    plan_id = loop["days"][1]["select"]["refresh_id"]
    table = rows(loop["warehouse"], "selection_probabilities", plan_id).to_pandas()
    assert table.probability.sum() == pytest.approx(table.drawn.sum(), rel=1e-9)
    assert table.drawn.sum() == manifest_of(loop["warehouse"], plan_id).counts.drawn
    assert np.allclose(
        table.offset, np.log(table.probability_positive / table.probability_negative)
    )


def test_law_4_the_files_of_a_sample_are_equal_and_in_the_manifest(loop):
    manifest = manifest_of(loop["warehouse"], loop["days"][1]["select"]["refresh_id"])
    sizes = [file.rows for file in manifest.sampled.files]
    assert sum(sizes) == manifest.counts.drawn
    assert len(sizes) == 4
    assert max(sizes) - min(sizes) <= 1
    sample = rows(loop["warehouse"], "sampled", manifest.refresh_id)
    assert sorted(sample["position"].to_pylist()) == list(range(manifest.counts.drawn))
    assert all(column.null_count == 0 for column in sample.columns)


def test_law_5_the_hold_out_is_never_drawn(loop):
    warehouse = loop["warehouse"]
    kept = set(rows(warehouse, "holdout")["instance_id"].to_pylist())
    assert len(kept) > 100
    for name in ("sampled", "selection_probabilities"):
        assert not kept & set(rows(warehouse, name)["instance_id"].to_pylist())


@pytest.mark.slow
@pytest.mark.nightly
def test_law_5_the_forward_days_are_there_to_judge_by_and_none_of_them_is_drawn(loop, tmp_path):
    warehouse = copied(loop["warehouse"], tmp_path)
    data = warehouse.pipeline.model_dump() | {"selection": {"forward_days": 1}}
    warehouse = Warehouse(warehouse.root, Pipeline.model_validate(data))
    refresh = select_day(warehouse, DS)["refresh_id"]
    asked = rows(warehouse, "instances").to_pandas().set_index("instance_id")
    held = rows(warehouse, "holdout", refresh).to_pandas().set_index("instance_id")
    day = asked.event_date.astype(str)
    for name in ("sampled", "selection_probabilities"):
        assert set(day[rows(warehouse, name, refresh)["instance_id"].to_pylist()]) == {"2013-01-07"}
    assert (held.forward == (day[held.index] == "2013-01-08")).all()
    # The share of ids makes as many forward rows as the hold-out has: of one day in 28, all.
    known = warehouse.read("labels").where(
        F.col("known_at") <= F.lit(plan_refresh(warehouse, DS).cut)
    )
    known = known.where((F.col("event_date") == F.lit(DS)) & F.col("late").isNotNull())
    assert held.forward.sum() == known.select("instance_id").distinct().count()
    keys = asked.loc[held.index, ["origin", "carrier"]].to_numpy().tolist()
    assert [list(levels) for levels in held.segments] == keys


def test_law_5_labels_that_come_after_the_cut_change_nothing(loop, tmp_path):
    warehouse = copied(loop["warehouse"], tmp_path)
    cut = plan_refresh(warehouse, DS).cut
    known = warehouse.read("labels").where(F.col("event_date") == F.lit(DS))
    late = known.withColumns(
        {"known_at": F.lit(cut + timedelta(seconds=1)), "late": 1 - F.col("late")}
    )
    warehouse.append_once(late, "labels", "corrections")
    again = select_day(warehouse, DS, force=True)
    assert again["sample_digest"] == loop["days"][1]["select"]["sample_digest"]


def test_law_5_a_label_is_known_only_once_the_flight_has_landed(loop):
    table = rows(
        loop["warehouse"], "selection_probabilities", loop["days"][1]["select"]["refresh_id"]
    )
    known = rows(loop["warehouse"], "labels").to_pandas().set_index("instance_id").known_at
    cut = datetime.combine(DS + timedelta(days=1), datetime.min.time()).astimezone(known.dt.tz)
    assert (known[table["instance_id"].to_pylist()] <= cut).all()


@pytest.mark.slow
@pytest.mark.nightly
def test_a_refresh_that_dies_before_its_manifest_is_no_refresh(loop, tmp_path, monkeypatch):
    warehouse = copied(loop["warehouse"], tmp_path)
    other = Warehouse(
        warehouse.root,
        warehouse.pipeline.model_copy(
            update={"selection": warehouse.pipeline.selection.model_copy(update={"seed": 99})}
        ),
    )
    name = refresh_id(other.pipeline, DS)
    replace = Warehouse.replace_refresh

    def dies(self, frame, table, of):
        if table == "refreshes":
            raise OSError("the disk is full")
        return replace(self, frame, table, of)

    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "replace_refresh", dies)
        with pytest.raises(OSError, match="disk is full"):
            select_day(other, DS)
    assert find_manifest(other.path("refreshes"), name) is None
    done = select_day(other, DS)
    assert done["status"] == "done"
    assert rows(other, "sampled", name).num_rows == done["drawn"]
    assert rows(other, "selection_probabilities", name).num_rows == done["candidates"]


def test_a_failed_day_is_named_and_the_days_before_are_kept(loop, monkeypatch):
    def broken(warehouse, ds):
        raise TenforwardError("no space left")

    steps = {"score": select_sample.select_day, "select": broken}
    monkeypatch.setattr(backfill, "STEPS", steps)
    with pytest.raises(TenforwardError, match=r"2013-01-07, select: no space left"):
        backfill.backfill(loop["warehouse"], *LOOPED)


def test_a_failed_day_may_be_passed_over_and_decides_the_exit_code(loop, monkeypatch):
    def picky(warehouse, ds):
        if ds == LOOPED[0]:
            raise NoDataError("nothing here.")
        return {"status": "already done"}

    monkeypatch.setattr(backfill, "STEPS", {"score": picky, "select": picky})
    done = backfill.backfill(loop["warehouse"], *LOOPED, go_on=True)
    assert done[0] == {"ds": LOOPED[0], "error": "2013-01-07, score: nothing here.", "exit_code": 3}
    assert list(done[1]) == ["ds", "score", "select"]
    told = backfill.summary("flights", done)
    assert (told["status"], told["exit_code"]) == ("failed", 3)


def test_an_interrupted_backfill_ends_with_130_and_keeps_the_days_before(loop, monkeypatch, capfd):
    ran = []

    def stopped(warehouse, ds):
        if ran:
            raise KeyboardInterrupt
        ran.append(ds)
        return {"status": "already done"}

    monkeypatch.setattr(backfill, "STEPS", {"select": stopped})
    where = ["--pipeline", PIPELINE, "--warehouse", loop["warehouse"].root]
    assert backfill.main([*where, "--start", str(LOOPED[0]), "--end", str(LOOPED[1])]) == 130
    out, err = capfd.readouterr()
    assert json.loads(out) == {"status": "interrupted", "exit_code": 130}
    assert ran == [LOOPED[0]]
    assert "repeat the command to go on" in err


def test_one_step_alone_is_run(loop):
    where = ["--pipeline", PIPELINE, "--warehouse", loop["warehouse"].root]
    over = ["--start", str(LOOPED[0]), "--end", str(LOOPED[1])]
    told = backfill.command([*where, *over, "--only", "select", "--json"])
    assert told["status"] == "already done"
    assert [list(day) for day in told["days"]] == [["ds", "select"]] * 2
    trained = backfill.command([*where, *over, "--only", "train"])
    assert trained["status"] == "nothing to do"
    assert trained["refresh_id"] == refresh_id(loop["warehouse"].pipeline, LOOPED[1])


def test_the_plan_names_refreshes_whose_inputs_have_grown(loop, tmp_path):
    warehouse = copied(loop["warehouse"], tmp_path)
    before = backfill.plan(warehouse, *LOOPED)
    assert before[1]["stale"] == []
    again = warehouse.read("forward_records").where(F.col("event_date") == F.lit(DS)).limit(3)
    warehouse.append_once(again, "forward_records", "score/late")
    grown = sum(loop["days"][number]["score"]["records"] for number in range(2))
    [reason] = backfill.plan(warehouse, *LOOPED)[1]["stale"]
    assert reason.startswith(f"forward_records: {grown} rows of the window")
    assert reason.endswith(f"now {grown + 3}")


def test_a_dry_run_plans_with_counts_and_changes_nothing(loop):
    before = versions(loop["warehouse"])
    planned = backfill.plan(loop["warehouse"], LOOPED[0], date(2013, 1, 9))
    assert [day["scored"] for day in planned] == [True, True, False]
    assert all(day["instances"] > 600 for day in planned)
    assert planned[1]["estimated_rows"] == loop["days"][1]["select"]["drawn"]
    assert planned[2]["estimated_rows"] > 0
    assert versions(loop["warehouse"]) == before


def test_compare_judges_policies_by_the_records_of_a_day_and_writes_nothing(loop, tmp_path):
    warehouse = loop["warehouse"]
    before = versions(warehouse)
    plot = tmp_path / "compare.svg"
    where = ["--pipeline", PIPELINE, "--warehouse", warehouse.root, "--ds", str(DS)]
    what = ["--policies", "calibrated,obftf", "--budgets", "0.1,200 rows", "--draws", "2"]
    told = compare.command([*where, *what, "--plot", str(plot)])
    names = [(one["policy"], one["budget"]) for one in told["lines"]]
    policies = ["uniform", "calibrated", "obftf"]
    assert names == [(name, budget) for budget in ("0.1", "200 rows") for name in policies]
    assert told["candidates"] == loop["days"][1]["select"]["candidates"]
    assert plot.read_text().startswith("<?xml")
    assert versions(warehouse) == before


def test_law_8_every_instance_with_a_record_is_counted_in_one_refresh(loop):
    warehouse = loop["warehouse"]
    told = [manifest_of(warehouse, refresh_id(warehouse.pipeline, ds)).allowance for ds in LOOPED]
    records = warehouse.read("forward_records").where(F.col("event_date").between(*LOOPED))
    assert (
        sum(one.forward_passes for one in told) == records.select("instance_id").distinct().count()
    )
    assert [one.predecessor for one in told] == [None, refresh_id(warehouse.pipeline, LOOPED[0])]
    for one, day in zip(told, loop["days"], strict=True):
        assert one.backward_passes == day["select"]["drawn"] * warehouse.pipeline.training.epochs
        assert day["select"]["backward_passes_planned"] == one.backward_passes


def test_a_budget_in_gpu_hours_is_what_the_last_trainings_managed(loop):
    speed = loop["days"][1]["train"]["metrics"]["train"]["rows_per_second"]
    warehouse, hours = loop["warehouse"], parse_budget("0.001 gpu hours")
    budget, _ = affordable(warehouse, plan_refresh(warehouse, DS), hours)
    epochs = warehouse.pipeline.training.epochs
    assert budget.unit == "rows"
    assert 0.2 < budget.amount / (3.6 * speed / epochs) < 5


@pytest.mark.slow
@pytest.mark.nightly
def test_the_mixture_hands_its_weights_from_refresh_to_refresh(loop, tmp_path):
    warehouse = copied(loop["warehouse"], tmp_path)
    changed = warehouse.pipeline.selection.model_copy(update={"policy": "mixture"})
    pipeline = warehouse.pipeline.model_copy(update={"selection": changed})
    mixed = Warehouse(warehouse.root, pipeline)

    def mixture(day: date) -> dict:
        manifest = manifest_of(mixed, select_day(mixed, day)["refresh_id"])
        assert manifest.decided.mixture == manifest.report["mixture"]["used"]
        return manifest.report["mixture"]

    first, second = mixture(LOOPED[0]), mixture(LOOPED[1])
    assert first["from"] is None
    assert second["from"] == refresh_id(pipeline, LOOPED[0])
    assert second["used"] == first["next"]
    assert sum(second["next"].values()) == pytest.approx(1)
    # A rerun of the second day finds the same weights, whatever has come after it.
    again, _ = decide(mixed, plan_refresh(mixed, LOOPED[1]))
    assert again.mixture == second["used"]
