"""A log that kept a part of its forward passes: totals are those of what it was sampled from."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from console.explain import explain
from console.show import in_words, show
from inference.recording.frame import frame_of
from inference.recording.rows import rows_in
from inference.recording.storing import _known_to
from inference.recording.usable import faults, usable
from schemas import reasons
from schemas.errors import ConfigurationError, DataQualityError
from schemas.rules import Rules
from schemas.tables import forward_records
from spark_jobs.candidates.arrow_narrow import (
    WHOLE,
    narrow_records,
    seen_from,
    times_asked,
    together,
)
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.drawn_from import frame_of as drawn_from
from spark_jobs.select_sample import select_day
from spark_jobs.selection.draw import selection_of
from tenforward import estimate
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import manifest_of
from tests.helpers.logged_records import binary_records
from tests.helpers.recording import ASKED, FLIGHTS

N = 3000
EVERY = binary_records(N)
LOGIT, LABEL = EVERY["prediction"].to_numpy(), EVERY["label"].to_numpy()
LOSS = np.logaddexp(0, LOGIT) - LABEL * LOGIT
# The log kept sure answers seldom, and labels were asked for of few of one kind of rows.
KEPT = np.clip(1.2 - 0.5 * np.abs(LOGIT), 0.15, 1.0)
ASKED_FOR = np.where(np.arange(N) % 2, 0.4, 1.0)


def logged(seed: int) -> pa.Table:
    """What was kept and asked for, each with the chance of both, as a window holds them."""
    random = np.random.default_rng(seed)
    there = (random.random(N) < KEPT) & (random.random(N) < ASKED_FOR)
    kept = pa.array(np.where(KEPT == 1.0, np.nan, KEPT), from_pandas=True)  # null is 1
    asked = pa.table({"instance_id": EVERY["instance_id"], "probability": ASKED_FOR})
    rows = times_asked(EVERY.append_column("propensity", kept), asked)
    return rows.filter(pa.array(there))


@pytest.mark.parametrize("policy", ["grad-norm", "calibrated"])
def test_law_3_totals_of_what_a_log_was_sampled_from_are_unbiased(policy: str) -> None:
    """100 logs, each drawn from once: the total loss, and the number of passes, within 4 standard
    errors (and 0.4 %) of those of all; by the rows that were kept alone, far off."""
    totals, alone, passes = [], [], []
    for seed in range(1, 101):
        table = logged(seed)
        for part, into in ((table, totals), (table.drop_columns(["propensity"]), alone)):
            made = selection_of(part, policy=policy, budget=0.2, seed=seed, task="binary")
            rows = made.rows(True)
            weight = rows["weight"].to_numpy()
            if policy == "calibrated":  # whose offset leaves weights to the tilted population
                weight = weight / rows["probability"].to_numpy()
            mean = weight @ rows["loss"].to_numpy() / weight.sum()
            into.append(mean * made.report["stands_for"])
            if part is table:
                passes.append(made.report["stands_for"])
    error = np.std(totals) / math.sqrt(len(totals))
    assert np.mean(totals) == pytest.approx(LOSS.sum(), abs=4 * error + 0.004 * LOSS.sum())
    assert abs(np.mean(alone) - LOSS.sum()) > 20 * error
    assert np.mean(passes) == pytest.approx(N, abs=4 * np.std(passes) / math.sqrt(len(passes)))


def test_a_record_that_was_kept_and_asked_for_came_by_both() -> None:
    rows = pa.table({"instance_id": ["a", "b", "c", "d"], "propensity": [0.5, 0.5, None, None]})
    asked = pa.table({"instance_id": ["c", "a"], "probability": [0.2, 0.1]})
    assert times_asked(rows, asked)["propensity"].to_pylist() == [0.05, 0.5, 0.2, None]


# --- estimates ---


def test_an_estimate_is_the_mean_of_what_the_rows_stand_for() -> None:
    """200 draws from one log: unbiased for the weighted mean of the log, and the interval holds it
    as often as it says, within 4 standard errors of that share."""
    table = logged(4)
    logit, label = table["prediction"].to_numpy(), table["label"].to_numpy()
    loss = np.logaddexp(0, logit) - label * logit
    each = 1 / table["propensity"].fill_null(1.0).to_numpy()
    wanted, found, held = each @ loss / each.sum(), [], 0
    for seed in range(1, 201):
        made = selection_of(table, policy="uniform", budget=0.2, seed=seed, task="binary")
        drawn = made.rows(False)
        place = pc.index_in(drawn["instance_id"], value_set=table["instance_id"]).combine_chunks()
        value = pa.array(loss[place.to_numpy()], mask=~drawn["drawn"].to_numpy())
        whole = drawn.append_column("value", value)
        for name in ("prediction", "propensity"):
            whole = whole.append_column(name, table[name].take(place))
        (line,) = estimate(whole, value="value", auxiliary=["prediction"]).to_pylist()
        found.append(line["estimate"])
        held += line["low"] < wanted < line["high"]
    error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) == pytest.approx(wanted, abs=4 * error)
    assert abs(np.mean(found) - loss.mean()) > 20 * error
    assert held / 200 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 200))
    twos = pa.array([2.0] * whole.num_rows)
    wrong = whole.drop_columns(["propensity"]).append_column("propensity", twos)
    with pytest.raises(DataQualityError, match=r"propensity = 2\.0 in row 0, one of"):
        estimate(wrong, value="value")


# --- the recorder ---


def test_a_recorder_keeps_the_chance_with_which_it_recorded() -> None:
    ids = [*"abcdef"]
    fixed = {"model_version": "3", "recorded_at": int(ASKED.timestamp() * 1e6)}
    keys = {"origin": ["JFK"] * 6, "carrier": ["UA"] * 6}
    chances = [0.25, None, 1.0, 0.0, 1.5, math.nan]
    request = (FLIGHTS, ids, [ASKED] * 6, [0.0] * 6)
    frames = [frame_of(*request, segments=keys, propensity=chances, **fixed)]
    frames += [frame_of(*request, segments=keys, **fixed)]
    rows = rows_in(frames)
    assert rows["propensity"].to_pylist()[:5] == [0.25, None, 1.0, 0.0, 1.5]
    assert rows["propensity"].to_pylist()[6:] == [None] * 6
    wrong = reasons.NOT_A_PROPENSITY
    assert faults(rows, FLIGHTS).to_pylist() == [None] * 3 + [wrong] * 3 + [None] * 6
    for given, words in (([0.5], "'propensity': 1"), (["half"] * 6, "propensity: ")):
        with pytest.raises(ConfigurationError, match=words):
            frame_of(*request, segments=keys, propensity=given, **fixed)


def test_a_table_of_an_earlier_release_takes_what_says_nothing_new(tmp_path: Path) -> None:
    fixed = {"model_version": "3", "recorded_at": int(ASKED.timestamp() * 1e6)}
    keys = {"origin": ["JFK"], "carrier": ["UA"]}
    plain, chosen = (
        usable(
            rows_in(
                [frame_of(FLIGHTS, ["a"], [ASKED], [0.0], segments=keys, propensity=p, **fixed)]
            ),
            "recorder/a/1",
        )
        for p in (None, [0.5])
    )
    write_deltalake(str(tmp_path / "old"), plain.drop_columns(["propensity"]))
    old = Snapshot(str(tmp_path / "old"))
    assert "propensity" not in _known_to(old, plain).column_names
    assert "propensity" in _known_to(old, chosen).column_names  # which it has to be widened for


# --- a refresh, on Spark and in Arrow ---


def test_law_3_a_refresh_weighs_by_what_the_log_was_sampled_from(
    spark: SparkSession, tmp_path: Path
) -> None:
    """The window's northern records were kept with a chance of 0.25, one has none that can be."""
    records = [
        row | {"propensity": 0.25 if row["segments"] == ["north"] else None}
        for row in small.records(small.instances())
    ]
    records[0] |= {"propensity": 1.5}
    lenient = {"window_days": 3, "budget": 0.5, "policy": "grad-norm", "max_reject_share": 0.1}
    warehouse = small.filled(tmp_path, small.pipeline(selection=lenient), records=records)
    done = select_day(warehouse, small.DAYS[2])
    manifest = manifest_of(warehouse, done["refresh_id"])
    assert manifest.report["rejects"] == {reasons.NOT_A_PROPENSITY: 1}
    rows = warehouse.read("selection_probabilities").toArrow().to_pylist()
    chance = {row["instance_id"]: row["propensity"] or 1.0 for row in records}
    each = {row["instance_id"]: 1 / chance[row["instance_id"]] for row in rows}
    assert manifest.report["stands_for"] == pytest.approx(sum(each.values()))
    assert manifest.report["asked"] == 0
    n, k, mean = done["candidates"], done["drawn"], np.mean(list(each.values()))
    for row in rows:
        wanted = k / (n * row["probability"]) * each[row["instance_id"]] / mean
        assert row["weight"] == pytest.approx(wanted if row["drawn"] else 0.0), row["instance_id"]

    north = next(row["instance_id"] for row in rows if chance[row["instance_id"]] < 1)
    told = explain(warehouse.pipeline, warehouse.root, north)
    assert [one["recomputed"] for one in told["refreshes"]] == ["equal"]
    assert json.dumps(told["forward_records"], default=str).count('"propensity": 0.25') == 1
    shown = show(warehouse.pipeline, warehouse.root, done["refresh_id"])
    assert any("stand for" in line for line in in_words(shown))
    frame = drawn_from(warehouse, manifest).select("instance_id", "propensity").toArrow()
    found = {row["instance_id"]: row["propensity"] or 1.0 for row in frame.to_pylist()}
    assert {name: found[name] for name in each} == {name: chance[name] for name in each}


def test_the_newest_record_says_with_which_chance_it_was_kept() -> None:
    """A record that is displaced by another has no part in its weight."""
    first, *_ = small.records(small.instances())
    later = {"recorded_at": first["recorded_at"] + timedelta(hours=1), "propensity": 0.5}
    whole = pa.schema([one.with_nullable(True) for one in forward_records().arrow_schema])
    rows = pa.Table.from_pylist([first | {"propensity": 0.1}, first | later], whole)
    seen = seen_from(
        together([narrow_records(rows, Rules(), WHOLE)], [], WHOLE), None, datetime.now(UTC)
    )
    found, _ = assemble(seen, 1, 0.0)
    assert found.propensity.tolist() == [0.5]
