"""Law 3: a record whose model may have learnt from its instance decides neither score nor offset.

The newest record out of sample counts. Where an instance has none, its newest record scores it, and
the whole refresh is weighted by 1/pi, which is right whatever the records know.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from console.show import show
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.in_sample import in_sample
from spark_jobs.compare import compare_day
from spark_jobs.refresh.registered import learnt_until
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.selection.draw import draw
from spark_jobs.selection.policies import on_records, policy_for
from spark_jobs.selection.policy import Policy
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, manifest_of, twin_of
from tests.test_assemble import SCHEMA, row

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2013, 7, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAYS_LATER = NOON + timedelta(days=9)

# model version, what it learnt until, when it was recorded -> whether it may know the label
CASES = [
    ("1", NOON - HOUR, DAYS_LATER, False),  # a backfill records old days today
    ("1", NOON, DAYS_LATER, False),  # "no later than" the event
    ("1", NOON + HOUR, NOON, True),
    ("2", None, NOON, False),  # nothing known of the model: by the end of the day
    ("2", None, MIDNIGHT, False),
    ("2", None, MIDNIGHT + timedelta(microseconds=1), True),
]


@pytest.mark.parametrize(("version", "learnt", "recorded", "expected"), CASES)
def test_a_record_is_in_sample_by_what_its_model_learnt_from(version, learnt, recorded, expected):
    known = {} if learnt is None else {version: learnt}
    found = in_sample(
        pa.array([version]),
        pa.array([NOON], pa.timestamp("us", tz="UTC")),
        np.array([micros(recorded)]),
        known,
    )
    assert found.tolist() == [expected]


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def test_what_a_model_learnt_from_includes_all_its_parents():
    day = {n: datetime(2013, 7, n, tzinfo=UTC) for n in range(1, 9)}
    versions = {
        "1": {"refresh_id": "a", "parent_version": "none"},
        "2": {"refresh_id": "b", "parent_version": "1"},
        "3": {"refresh_id": "a", "parent_version": "2"},  # an older day, from a newer parent
        "4": {"refresh_id": "gone", "ds": "2013-07-05", "parent_version": "3"},
        "5": {"refresh_id": "gone", "parent_version": "4"},  # its own refresh is not known
        "6": {"refresh_id": "b", "parent_version": "5"},
        "7": {"refresh_id": "b", "parent_version": "99"},  # its parent was deleted
        "8": {},  # trained somewhere else
    }
    found = learnt_until(versions, {"a": day[2], "b": day[4]})
    assert found == {"1": day[2], "2": day[4], "3": day[4], "4": day[6]}


def test_the_newest_record_out_of_sample_counts_and_else_the_newest():
    hour, moment = micros(NOON), micros(NOON) + 1
    rows = [
        {**row("a", moment, 1, 0.1, None), "model_version": "old"},
        {**row("a", moment + 1, 1, 0.2, None), "model_version": "old"},
        {**row("a", moment + 2, 1, 0.3, None), "model_version": "knows"},
        {**row("b", moment, 1, 0.4, None), "model_version": "knows"},
        {**row("b", moment + 1, 1, 0.5, None), "model_version": "knows"},
        {**row("c", moment, 1, 0.6, None), "model_version": "knows"},  # never labelled
        *(row(name, moment, 0, None, 1.0) for name in ("a", "b")),
    ]
    rows = [{**one, "event_time": hour} for one in rows]
    learnt = {"old": NOON, "knows": NOON + HOUR}
    candidates, counts = assemble(pa.Table.from_pylist(rows, SCHEMA), 7, None, learnt)
    assert candidates.kept is not None
    ids = candidates.kept["instance_id"].to_pylist()
    assert dict(zip(ids, candidates.prediction, strict=True)) == {"a": 0.2, "b": 0.5}
    assert counts.in_sample == 1  # "c" is no candidate
    assert assemble(pa.Table.from_pylist(rows, SCHEMA), 7, 0.0, learnt)[1].in_sample == 2
    newest, none = assemble(pa.Table.from_pylist(rows, SCHEMA), 7, None, None)
    assert sorted(newest.prediction) == [0.3, 0.5]
    assert none.in_sample == 0


def z_of_residuals(policy: Policy, *, leak: float) -> float:
    """How many standard errors the weighted residuals of the truth are from what they estimate.

    300 draws, each with labels of its own from the same true logits. leak: how far the records'
    predictions have moved towards the labels.
    """
    random = np.random.default_rng(5)
    n, gaps = 1000, []
    truth = random.normal(-1.0, 1.0, n)
    p = 1 / (1 + np.exp(-truth))
    for seed in range(1, 301):
        label = (random.random(n) < p).astype(float)
        prediction = truth + leak * (2 * label - 1) + random.normal(0.0, 0.5, n)
        records = pa.table({"instance_id": range(n), "prediction": prediction, "label": label})
        drawn = draw(records, policy=policy, budget=0.1, seed=seed)
        weight, offset = drawn["weight"].to_numpy(), drawn["offset"].to_numpy()
        residual = 1 / (1 + np.exp(-truth - offset)) - label
        whole = 0.0 if offset.any() else (p - label).mean()
        gaps.append((weight * residual).sum() / weight.sum() - whole)
    return float(abs(np.mean(gaps)) / (np.std(gaps) / len(gaps) ** 0.5))


def test_law_3_an_offset_that_knows_the_label_is_biased_and_its_replacement_is_not():
    asked = policy_for("grad-norm", "binary", weighting="offset", floor=0.2)
    assert z_of_residuals(asked, leak=0.0) < 4
    assert z_of_residuals(asked, leak=1.0) > 10
    replaced = on_records(asked, in_sample=1)
    assert replaced.weighting == "inverse"
    assert z_of_residuals(replaced, leak=1.0) < 4
    assert on_records(asked, in_sample=0) == asked


@pytest.fixture
def warehouse(loop, tmp_path) -> Warehouse:
    """The flights of 7 and 8 January, answered by version 1, which learnt until the 6th; version 2
    learnt from the 7th."""
    return twin_of(loop["warehouse"], tmp_path)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_shadow_model_that_learnt_from_a_day_changes_nothing_of_it(warehouse):
    before = select_day(warehouse, LOOPED[0])
    score_day(warehouse, LOOPED[0], model_version="2")
    after = select_day(warehouse, LOOPED[0], force=True)
    assert after["sample_digest"] == before["sample_digest"]
    assert after["in_sample"] == 0


@pytest.mark.slow
@pytest.mark.nightly
def test_days_that_their_own_model_answers_are_weighted_by_one_over_pi_and_counted(warehouse):
    """The first model answers the last day that it was trained on."""
    bootstrapped = date(2013, 1, 6)
    score_day(warehouse, bootstrapped)
    told = select_day(warehouse, LOOPED[0], force=True)
    of_before = select_day(warehouse, LOOPED[1])["candidates"]
    manifest = manifest_of(warehouse, told["refresh_id"])
    assert 0 < told["in_sample"] < told["candidates"]
    assert told["in_sample"] == manifest.report["in_sample"]
    assert told["candidates"] > of_before / 2
    assert manifest.report["policy"]["weighting"] == "inverse"
    assert manifest.decided is not None
    assert manifest.decided.learnt_until is not None
    assert manifest.decided.learnt_until["1"] == datetime(2013, 1, 7, tzinfo=UTC)
    page = Path(warehouse.path("report_cards")) / f"{told['refresh_id']}.html"
    assert f"answered {told['in_sample']:,} candidates" in page.read_text()
    shown = show(warehouse.pipeline, warehouse.root, told["refresh_id"])
    assert shown["in_sample"] == told["in_sample"]
    again = select_day(warehouse, LOOPED[0], rebuild=True)
    assert again["sample_digest"] == told["sample_digest"]
    policies = {"calibrated": policy_for("calibrated", "binary")}
    _, counts = compare_day(warehouse, LOOPED[0], policies, {}, 1)
    assert counts["in_sample"] == told["in_sample"]
