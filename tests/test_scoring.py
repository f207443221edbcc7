"""The scoring job: every instance gets one answer of each model, whenever it arrives."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import tenforward
from schemas import reasons
from schemas.errors import ConflictError
from spark_jobs import score
from spark_jobs.days.answered import answered_days, states, to_score
from spark_jobs.score import score_day, score_days
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE, versions

NEWEST = date(2013, 1, 9)
VERSIONS = ("1", "2")  # in the registry; one of them, or a third, serves


@pytest.fixture
def warehouse(twin) -> Warehouse:
    """The whole loop again, registry included; the newest day is not scored."""
    return twin


def early() -> Column:
    return F.pmod(F.xxhash64("instance_id"), F.lit(3)) < 2


def half_arrived(warehouse: Warehouse) -> DataFrame:
    """Take a third of the newest day's instances away; they are to arrive later."""
    day = warehouse.read("instances").where(F.col("event_date") == F.lit(NEWEST))
    late = warehouse.spark.createDataFrame(day.where(~early()).toArrow(), day.schema)
    table = DeltaTable.forPath(warehouse.spark, warehouse.path("instances"))
    table.delete((F.col("event_date") == F.lit(NEWEST)) & ~early())
    return late


def answers(warehouse: Warehouse, day: date = NEWEST) -> list[tuple[Any, ...]]:
    rows = warehouse.read("forward_records").where(F.col("event_date") == F.lit(day))
    columns = ("instance_id", "model_version", "prediction", "batch_id")
    return sorted(map(tuple, rows.select(*columns).collect()))


def other_than(champion: str) -> str:
    return next(version for version in VERSIONS if version != champion)


def is_answered(warehouse: Warehouse, model: str | None = None) -> bool:
    return bool(answered_days(warehouse, [NEWEST], states(warehouse), model))


def test_law_2_instances_that_arrive_later_are_answered_and_none_twice(warehouse, monkeypatch):
    late = half_arrived(warehouse)
    first = score_day(warehouse, NEWEST)
    assert (first["status"], first["records"]) == ("done", len(answers(warehouse)))
    before = versions(warehouse)
    assert score_day(warehouse, NEWEST)["status"] == "already done"
    assert versions(warehouse) == before
    warehouse.append_once(late, "instances", "late")
    assert not is_answered(warehouse)

    # Another model serves by now: what was served is not served again.
    champion = first["model_version"]
    other = other_than(champion)
    monkeypatch.setattr(
        score, "find_champion", lambda name, root: score.find_version(name, other, root)
    )
    second = score_day(warehouse, NEWEST)
    assert (second["records"], second["model_version"]) == (late.count(), other)
    assert is_answered(warehouse)
    found = answers(warehouse)
    asked = warehouse.read("instances").where(F.col("event_date") == F.lit(NEWEST))
    assert [row[0] for row in found] == sorted(r["instance_id"] for r in asked.collect())
    assert {row[1:4:2] for row in found} == {
        (champion, f"score/{NEWEST}/{champion}/1"),
        (other, f"score/{NEWEST}/{other}/2"),
    }


@pytest.mark.slow
@pytest.mark.nightly
def test_several_versions_answer_one_day_and_selection_takes_the_newest_record(warehouse, capfd):
    before = answers(warehouse, LOOPED[1])
    champion = before[0][1]
    other = other_than(champion)
    where = ["--pipeline", PIPELINE, "--warehouse", warehouse.root, "--ds", str(LOOPED[1])]
    assert tenforward.main(["score", *where, "--model-version", other]) == 0
    done = json.loads(capfd.readouterr().out)
    assert (done["model_version"], done["records"]) == (other, len(before))
    both = answers(warehouse, LOOPED[1])
    assert [row for row in both if row[1] == champion] == before
    assert len(both) == 2 * len(before)
    assert sum(a[2] != b[2] for a, b in zip(both[::2], both[1::2], strict=True)) > len(before) / 2
    for model in (other, champion, None):  # each has answered; the champion as it served
        assert score_days(warehouse, [LOOPED[1]], model)[0]["status"] == "already done"
    assert answers(warehouse, LOOPED[1]) == both
    selected = select_day(warehouse, LOOPED[1], force=True)
    rows = warehouse.read("selection_probabilities").where(
        (F.col("refresh_id") == selected["refresh_id"])
        & (F.to_date("event_time") == F.lit(LOOPED[1]))
    )
    assert {row["model_version"] for row in rows.collect()} == {other}


@pytest.mark.slow
def test_a_version_that_is_scored_first_does_not_keep_the_champion_from_serving(warehouse):
    champion = score.find_champion(warehouse.pipeline.name, warehouse.root).version
    shadow = score_day(warehouse, NEWEST, other_than(champion))
    served = score_day(warehouse, NEWEST)
    assert shadow["records"] == served["records"]
    assert len({row[:2] for row in answers(warehouse)}) == 2 * served["records"]


def test_what_a_server_answered_by_another_version_is_not_answered_again(warehouse):
    champion = score.find_champion(warehouse.pipeline.name, warehouse.root).version
    other = other_than(champion)
    day = warehouse.read("instances").where(F.col("event_date") == F.lit(NEWEST))
    there = warehouse.read("forward_records").limit(1).drop("event_time", "event_date")
    rows = day.select("instance_id", "event_time", "event_date").crossJoin(
        F.broadcast(there.drop("instance_id", "recorded_at"))
    )
    # A third was served by another version; one more is of a model that nobody knows.
    version = F.when(early(), F.lit(other)).otherwise(F.lit("unknown"))
    made = {"model_version": version, "batch_id": F.lit("recorder/a/1")}
    made |= {"recorded_at": F.col("event_time")}
    warehouse.append_once(rows.withColumns(made), "forward_records", "served")
    served = {row[0] for row in answers(warehouse) if row[1] == other}
    asked = day.count()
    assert 0 < len(served) < asked
    assert to_score(warehouse, [NEWEST]) == {NEWEST: asked - len(served)}
    assert score_day(warehouse, NEWEST)["records"] == asked - len(served)
    assert not served & {row[0] for row in answers(warehouse) if row[1] == champion}
    assert to_score(warehouse, [NEWEST]) == {NEWEST: 0}
    assert is_answered(warehouse)


@pytest.mark.slow
def test_law_2_a_run_that_dies_between_rejects_and_records_is_finished_by_the_next(
    warehouse, monkeypatch
):
    bad = F.pmod(F.xxhash64("instance_id"), F.lit(10)) == 0
    passes = score.forward_passes

    def broken(features, champion):
        answer = F.when(bad, F.lit(float("nan"))).otherwise(F.col("prediction"))
        return passes(features, champion).withColumn("prediction", answer)

    append = Warehouse.append_numbered

    def dies(self, rows, name, *rest):
        if name == "forward_records":
            raise OSError("killed")
        return append(self, rows, name, *rest)

    monkeypatch.setattr(score, "forward_passes", broken)
    with monkeypatch.context() as kill:
        kill.setattr(Warehouse, "append_numbered", dies)
        with pytest.raises(OSError, match="killed"):
            score_day(warehouse, NEWEST)
    refused = rejected(warehouse)
    assert refused > 0
    done = score_day(warehouse, NEWEST)
    assert (done["status"], done["rejected"]) == ("done", 0)
    warehouse.append_once(copies(warehouse), "instances", "one more")
    assert score_day(warehouse, NEWEST)["records"] + done["records"] == len(answers(warehouse))
    assert rejected(warehouse) == refused
    asked = warehouse.read("instances").where(F.col("event_date") == F.lit(NEWEST)).count()
    assert len(answers(warehouse)) == asked - refused


def rejected(warehouse: Warehouse) -> int:
    rows = warehouse.read("forward_rejects").where(F.col("event_date") == F.lit(NEWEST)).collect()
    assert {row["reason"] for row in rows} == {reasons.NOT_FINITE}
    return len(rows)


def copies(warehouse: Warehouse) -> DataFrame:
    """One more instance of the newest day."""
    day = warehouse.read("instances").where(F.col("event_date") == F.lit(NEWEST))
    return day.limit(1).withColumn("instance_id", F.lit("one more"))


@pytest.mark.slow
@pytest.mark.nightly
def test_of_two_runs_of_a_day_at_once_one_is_refused_and_its_repeat_adds_nothing(
    warehouse, monkeypatch
):
    took = score._Numbers.next(warehouse, NEWEST)
    score_day(warehouse, NEWEST)
    once = answers(warehouse)
    # Looked before the other had written, and numbered its work alike.
    with monkeypatch.context() as overtaken:
        overtaken.setattr(score._Numbers, "next", lambda *_: took)
        overtaken.setattr(score, "answered_days", lambda *_: set())
        overtaken.setattr(score, "unanswered", lambda _, day, *rest, **named: day)
        with pytest.raises(ConflictError, match="Remedy: repeat"):
            score_day(warehouse, NEWEST)
    assert answers(warehouse) == once
    assert score_day(warehouse, NEWEST)["status"] == "already done"


@pytest.mark.slow
def test_of_a_day_that_is_not_over_only_what_was_asked_is_answered(warehouse):
    now = datetime.now(UTC)
    today, day = now.date(), warehouse.read("instances").limit(2)
    asked, ahead = now - timedelta(seconds=1), now + timedelta(seconds=3600)
    times = F.when(F.col("instance_id") == "ahead", F.lit(ahead)).otherwise(F.lit(asked))
    rows = warehouse.spark.createDataFrame(
        day.toArrow().set_column(0, "instance_id", [["asked", "ahead"]])
    ).withColumns({"event_time": times, "event_date": F.lit(today)})
    warehouse.append_once(rows, "instances", "today")
    assert score_day(warehouse, today)["records"] == 1
    assert [row[0] for row in answers(warehouse, today)] == ["asked"]
    assert score_day(warehouse, today)["status"] == "already done"
    assert answered_days(warehouse, [today], states(warehouse)) == set()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--alias", "challenger"], ["--alias = 'challenger'", "--model-version"]),
        (["--model-version", "99"], ["version 99", "not in the registry"]),
        (["--ds", "2999-01-01"], ["2999-01-01", "has not begun"]),
    ],
)
def test_law_7_a_model_or_a_day_that_is_not_there_is_refused(loop, capfd, words, told):
    where = ["--pipeline", PIPELINE, "--warehouse", loop["warehouse"].root, "--ds", str(NEWEST)]
    assert tenforward.main(["score", *where, *words]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert [word for word in [*told, "Remedy"] if word not in error] == []
