"""The as-of join, against its rules one by one and against a slow reference on random rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.errors import ConfigurationError
from schemas.sections.store import FeatureView
from spark_jobs.features.point_in_time import as_of_joins

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
TEXT = pa.string()
ASKED = pa.schema([("instance_id", TEXT), ("event_time", TIME), ("case", TEXT), ("key", TEXT)])
KNOWN = pa.schema(
    [
        ("case", TEXT),
        ("key", TEXT),
        ("event_timestamp", TIME),
        ("created", TIME),
        ("a", pa.int64()),
        ("b", TEXT),
    ]
)


def view(ttl: str | None, entity: tuple[str, ...] = ("case", "key")) -> FeatureView:
    """A view of two columns, keyed by test case and key."""
    columns = {"a": {"type": "int64"}, "b": {"type": "string"}}
    return FeatureView.model_validate(
        {"name": "view", "entity": list(entity), "ttl": ttl, "columns": columns}
    )


def at(minutes: float) -> datetime:
    """A moment `minutes` after noon."""
    return NOON + timedelta(minutes=minutes)


def frame(spark: SparkSession, rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> DataFrame:
    """A DataFrame of `rows`."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return spark.createDataFrame(pa.Table.from_arrays(arrays, schema=schema))


def as_of_join(instances: DataFrame, rows: DataFrame, one: FeatureView) -> DataFrame:
    """`instances` with the columns of one view's rows."""
    return as_of_joins(instances, [(one, rows)]).select("instances.*", f"{one.name}.*")


@dataclass(frozen=True)
class Case:
    """View rows as (timestamp, created, a), minutes after noon; asked at noon, ttl 10 minutes."""

    rows: list[tuple[float, float, int | None]]
    expected: int | None
    key: str | None = "k"
    row_key: str | None = "k"


CASES = {
    "the newest row wins": Case([(-3, -3, 1), (-1, -1, 2), (-2, -2, 3)], 2),
    "a row of that very moment counts": Case([(-5, -5, 1), (0, 0, 2)], 2),
    "a row of a moment later does not": Case([(-5, -5, 1), (0.001, 0.001, 2)], 1),
    "a row that held but was not known yet does not count": Case([(-5, -5, 1), (-2, 1, 2)], 1),
    "a row known before it holds waits": Case([(-5, -5, 1), (2, -4, 2)], 1),
    "known exactly at the moment counts": Case([(-5, -5, 1), (-2, 0, 2)], 2),
    "a late row of an older time does not displace a newer one": Case(
        [(-2, -2, 1), (-6, -1, 2)], 1
    ),
    "a correction, created later for the same time, wins": Case([(-2, -1, 1), (-2, -2, 2)], 1),
    "a full tie is settled by the values": Case([(-2, -2, 1), (-2, -2, 3), (-2, -2, 2)], 3),
    "a null in the newest row is the answer": Case([(-5, -5, 1), (-2, -2, None)], None),
    "as old as the ttl is too old": Case([(-10, -10, 1)], None),
    "a moment younger is not": Case([(-9.999, -9.999, 1)], 1),
    "late knowledge does not renew the ttl": Case([(-11, -1, 1)], None),
    "an entity without rows gets null": Case([(-1, -1, 1)], None, key="another"),
    "a null entity gets null": Case([(-1, -1, 1)], None, key=None),
    "a null entity does not match a null entity": Case([(-1, -1, 1)], None, key=None, row_key=None),
    "a row without entity is nobody's": Case([(-1, -1, 1)], None, row_key=None),
    "no rows at all": Case([], None),
}


@pytest.fixture(scope="module")
def answers(spark: SparkSession) -> dict[str, list[int | None]]:
    """Every case's answers, in one query."""
    asked = [(name, NOON, name, case.key) for name, case in CASES.items()]
    known = [
        (name, case.row_key, at(timestamp), at(created), a, "")
        for name, case in CASES.items()
        for timestamp, created, a in case.rows
    ]
    joined = as_of_join(frame(spark, asked, ASKED), frame(spark, known, KNOWN), view("10m"))
    found: dict[str, list[int | None]] = {name: [] for name in CASES}
    for row in joined.collect():
        found[row["instance_id"]].append(row["a"])
    return found


@pytest.mark.parametrize("name", CASES)
def test_rule(answers: Mapping[str, list[int | None]], name: str) -> None:
    assert answers[name] == [CASES[name].expected]


def random_rows(seed: int, cases: int = 150) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Instances and view rows of many small cases; coarse times, so that ties abound."""
    rng = np.random.default_rng(seed)
    keys: list[Any] = ["x", "y", None]
    asked, known = [], []
    for case in map(str, range(cases)):
        for number in range(rng.integers(0, 5)):
            key = rng.choice(keys)
            asked.append((f"{case}/{number}", at(int(rng.integers(0, 15))), case, key))
        for _ in range(rng.integers(0, 9)):
            timestamp = int(rng.integers(-5, 15))
            created = timestamp + int(rng.integers(-3, 8))
            a = int(rng.integers(0, 3)) if rng.random() < 0.8 else None
            b = str(rng.choice(["p", "q"])) if rng.random() < 0.8 else None
            key = rng.choice(keys)
            known.append((case, key, at(timestamp), at(created), a, b))
    return asked, known


def reference(
    asked: list[tuple[Any, ...]], known: list[tuple[Any, ...]], ttl: timedelta | None
) -> list[tuple[Any, ...]]:
    """Row by row: all that may be used, then the newest of it."""
    result = []
    for instance_id, event_time, *entity in asked:
        usable = [
            row[2:]
            for row in known
            if list(row[:2]) == entity
            and None not in entity
            and row[2] <= event_time
            and row[3] <= event_time
            and (ttl is None or row[2] > event_time - ttl)
        ]
        best = max(usable, key=_order, default=(None, None, None, None))
        result.append((instance_id, event_time, *entity, *best[2:]))
    return sorted(result)


def _order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Timestamp, created, values; null below any value."""
    timestamp, created, a, b = row
    return (timestamp, created, a is not None, a or 0, b is not None, b or "")


@pytest.mark.parametrize("ttl", [None, "6m"])
@settings(max_examples=3, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_agrees_with_a_row_by_row_reference(
    spark: SparkSession, ttl: str | None, seed: int
) -> None:
    asked, known = random_rows(seed)
    joined = as_of_join(frame(spark, asked, ASKED), frame(spark, known, KNOWN), view(ttl))
    table = joined.toArrow()
    assert table.column_names == ["instance_id", "event_time", "case", "key", "a", "b"]
    found = sorted(tuple(row.values()) for row in table.to_pylist())
    assert found == reference(asked, known, None if ttl is None else timedelta(minutes=6))


def test_several_views_at_once_agree_with_the_reference_each(spark: SparkSession) -> None:
    """Views of other entities and another ttl: no instance multiplied, none lost."""
    asked, known = random_rows(seed=11)
    narrow = view("6m").model_copy(update={"name": "narrow"})
    broad = view(None, ("key",)).model_copy(update={"name": "broad"})
    rows = frame(spark, known, KNOWN)
    by_key = rows.drop("case").where("case < '2'")
    joined = as_of_joins(frame(spark, asked, ASKED), [(narrow, rows), (broad, by_key)])
    found = joined.toArrow().to_pylist()
    assert len(found) == len(asked)
    whole = [("", *row[1:]) for row in known if row[0] < "2"]
    expected = {
        "narrow": reference(asked, known, timedelta(minutes=6)),
        "broad": reference([(i, moment, "", key) for i, moment, _, key in asked], whole, None),
    }
    for name, answers in expected.items():
        by_id = {row["instances"]["instance_id"]: row[name] or {} for row in found}
        told = [(one, by_id[one].get("a"), by_id[one].get("b")) for one in sorted(by_id)]
        assert told == [(row[0], *row[-2:]) for row in answers]


def test_a_session_of_another_time_zone_changes_no_answer(spark: SparkSession) -> None:
    """Across the hour that New York's clocks left out, 7:00 UTC on 10 March 2013."""
    shift = datetime(2013, 3, 10, 6, 55, tzinfo=UTC) - NOON
    asked, known = random_rows(seed=13, cases=60)
    asked = [(one, moment + shift, *rest) for one, moment, *rest in asked]
    known = [(*keys, held + shift, came + shift, a, b) for *keys, held, came, a, b in known]
    expected = reference(asked, known, timedelta(minutes=6))
    before = spark.conf.get("spark.sql.session.timeZone")
    try:
        for zone in ("UTC", "America/New_York", "Asia/Kolkata"):
            spark.conf.set("spark.sql.session.timeZone", zone)
            joined = as_of_join(
                frame(spark, asked, ASKED), frame(spark, known, KNOWN), view("6m")
            ).withColumn("event_time", F.unix_micros("event_time"))
            rows = joined.toArrow().to_pylist()
            answers = sorted(((row["instance_id"], row["a"], row["b"]) for row in rows), key=str)
            assert answers == sorted(((row[0], *row[-2:]) for row in expected), key=str), zone
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)


def test_law_5_nothing_from_the_future_changes_an_answer(spark: SparkSession) -> None:
    asked, known = random_rows(seed=5)
    asked = [row for row in asked if row[1] <= at(7)]
    past = [row for row in known if max(row[2], row[3]) <= at(7)]
    assert 0 < len(past) < len(known)
    instances = frame(spark, asked, ASKED)
    answers = [
        as_of_join(instances, frame(spark, rows, KNOWN), view(None)).toArrow().to_pylist()
        for rows in (known, past)
    ]
    first, second = (sorted(rows, key=lambda row: str(row["instance_id"])) for rows in answers)
    assert first == second


def test_an_instance_that_stands_twice_is_refused(spark: SparkSession) -> None:
    twice = frame(spark, [("i", at(0), "c", "k"), ("i", at(1), "c", "k")], ASKED)
    with pytest.raises(PySparkException, match=r"instance_id = i: more than one row\. Remedy"):
        as_of_join(twice, frame(spark, [], KNOWN), view(None)).collect()


def test_an_entity_that_the_instances_lack_is_refused(spark: SparkSession) -> None:
    instances = frame(spark, [], ASKED)
    with pytest.raises(ConfigurationError, match=r"feature_views\.view\.entity = 'plane'.*Remedy"):
        as_of_join(instances, frame(spark, [], KNOWN), view(None, ("plane",)))
