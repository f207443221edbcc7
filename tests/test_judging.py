"""By which refreshes a version may be judged: not by labels that stand in for others, nor by days
from which it learnt with chances that nobody knows."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas.errors import ConfigurationError
from schemas.manifests import BOOTSTRAP, Manifest, RowCounts
from schemas.pipeline import load_pipeline
from spark_jobs.estimate import main
from spark_jobs.judging import learnt
from spark_jobs.judging.judged_by import require_labels, unmatured_outside
from spark_jobs.judging.learnt import require_independent
from spark_jobs.refresh.write import write_manifest
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import PIPELINE, manifest_of
from tests.helpers.manifests import manifest_without_rows

FLIGHTS = load_pipeline(PIPELINE)
STAND_IN = load_pipeline(PIPELINE, {"selection.unmatured": "down-weight"})
LAST = date(2013, 2, 14)


def with_stand_ins() -> Manifest:
    """A tenth of the candidates wait for their label."""
    return manifest_without_rows(
        STAND_IN,
        LAST,
        counts=RowCounts(1000, 100, 0, 0),
        report={"unmatured_records": 100, "unmatured_share": 0.1},
    )


def test_labels_that_stand_in_judge_no_model() -> None:
    words = r"selection\.unmatured = 'down-weight'.*100 of its 1,000 .* Remedy: name a refresh"
    with pytest.raises(ConfigurationError, match=words):
        require_labels(with_stand_ins())


def test_records_that_wait_are_outside_and_those_with_a_stand_in_are_not() -> None:
    waits = manifest_without_rows(
        FLIGHTS,
        LAST,
        counts=RowCounts(900, 90, 0, 0),
        report={"unmatured_records": 100, "unmatured_share": 0.0},
    )
    require_labels(waits)
    assert unmatured_outside(waits) == 100
    assert unmatured_outside(with_stand_ins()) == 0
    assert unmatured_outside(replace(waits, report={})) is None


def test_the_command_refuses_a_challenger_and_still_lists_whom_to_ask(
    loop: dict[str, Any], twin: Warehouse, capfd: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    second = loop["days"][1]["select"]["refresh_id"]
    was = manifest_of(twin, second)
    report = {**was.report, "unmatured_share": 0.5}
    report["unmatured_records"] = round(0.5 * was.counts.candidates)
    write_manifest(twin, replace(was, report=report, config=STAND_IN.selection_config()))
    place = "--pipeline", PIPELINE, "--warehouse", twin.root, "--refresh", second
    for more in ((), ("--for-gate",)):
        code = main([*place, "--challenger", "2", *more])
        told = json.loads(capfd.readouterr().out)
        assert (code, "selection.unmatured = 'down-weight'" in told["error"]) == (2, True), told
    assert main([*place, "--list", str(tmp_path / "ask.csv")]) == 0
    assert json.loads(capfd.readouterr().out)["unmatured_outside"] == 0


def drawn_on(day: int, policy: str, seed: int, **report: Any) -> Manifest:
    return manifest_without_rows(
        FLIGHTS, date(2013, 2, day), refresh_id=policy, policy=policy, seed=seed, report=report
    )


@pytest.mark.parametrize(("day", "refused"), [(13, True), (1, False)])
def test_a_version_taught_by_a_sample_that_was_drawn_anew_is_judged_by_other_days_alone(
    monkeypatch: pytest.MonkeyPatch, day: int, refused: bool
) -> None:
    anew = replace(drawn_on(day, "calibrated", 1, design_exact=True), sample_digest="second")
    monkeypatch.setattr(learnt, "find_manifest", lambda *_: anew)
    versions = {"7": {"refresh_id": anew.refresh_id, "sample_digest": "first"}}
    warehouse, since = Warehouse("nowhere", FLIGHTS), date(2013, 2, 7)
    if refused:
        with pytest.raises(ConfigurationError, match="as it was before it was selected anew"):
            learnt.learnt_from(warehouse, "7", versions, since)
    else:
        assert learnt.learnt_from(warehouse, "7", versions, since) == (anew,)
    versions["7"]["sample_digest"] = "second"
    assert learnt.learnt_from(warehouse, "7", versions, since) == (anew,)


def test_of_two_draws_that_are_one_the_likelier_to_have_taken_a_row_counts(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one day by other settings, and so of one seed; a third is independent of both."""
    window = drawn_on(14, "calibrated", 1, design_exact=True)
    one, other, third = (
        replace(drawn_on(13, "calibrated", seed, design_exact=True), refresh_id=name)
        for name, seed in (("one", 2), ("other", 2), ("third", 3))
    )
    chances = {"one": 0.2, "other": 0.3, "third": 0.5}
    rows = spark.createDataFrame(
        [(name, "a", datetime(2013, 2, 13, tzinfo=UTC), False, p) for name, p in chances.items()],
        "refresh_id string, instance_id string, event_time timestamp, drawn boolean,"
        " probability double",
    )
    monkeypatch.setattr(Warehouse, "read", lambda *_: rows)
    warehouse = Warehouse("nowhere", FLIGHTS)
    found = learnt.unlearnt(warehouse, [one, other, third], window)
    assert found is not None
    [row] = found.collect()
    assert (row["learnt"], row["unlearnt"]) == (False, pytest.approx(0.7 * 0.5))


def test_a_version_taught_with_chances_that_nobody_knows_is_judged_by_other_days_alone() -> None:
    window = drawn_on(14, "calibrated", 1, design_exact=True)
    begins = window.inputs.window_start
    taught = drawn_on(13, "min-loss", 2, design_exact=False)
    with pytest.raises(ConfigurationError, match=r"'min-loss' promises no .* after 2013-02-13"):
        require_independent(window, [taught], "7")
    exact = drawn_on(13, "uniform", 3, design_exact=True)
    first = replace(taught, refresh_id="first", policy=BOOTSTRAP, report={})
    before = replace(taught, ds=date.fromordinal(begins.toordinal() - 1))
    require_independent(window, [exact, first, before], "7")
