"""Law 1 and law 2: what says the same twice is one; what contradicts itself is a reject, all of it.

Two records of one instance, model version, batch and moment, or two labels of one instance that
became known at one moment, cannot be told apart by time. The order of arrival never decides.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from schemas import reasons
from schemas.rules import Rules, rules_for
from schemas.sections.budget import parse_budget
from schemas.sections.store import Labels
from schemas.tables import forward_records
from spark_jobs.candidates.arrow_narrow import narrow_labels, narrow_records, seen_from, together
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.narrow import labels_as_of, narrow
from spark_jobs.candidates.rejects import contradicting, label_faults
from spark_jobs.candidates.spark_maturity import with_labels
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.engine import select
from spark_jobs.selection.policies import policy_for

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
CUT = datetime(2013, 7, 2, tzinfo=UTC)
RECORD = {
    "instance_id": "a",
    "event_time": NOON,
    "event_date": NOON.date(),
    "model_version": "1",
    "batch_id": "b",
    "recorded_at": NOON,
    "prediction": 0.5,
    "segments": ["x"],
    "sketch": [0.5, 1.0],
}
LABEL = {"instance_id": "a", "known_at": NOON, "label": 1.0}
LABELS = pa.schema(
    [("instance_id", "string"), ("known_at", pa.timestamp("us", tz="UTC")), ("label", "double")]
)
WINDOW = Labels.model_validate(
    {"columns": {"late": {"type": "float64"}}, "label": "late", "maturity": "window", "after": "1h"}
)

# What a second record of the same key says, and whether both are refused.
SECOND_RECORD: dict[str, tuple[dict[str, Any], bool]] = {
    "the same": ({}, False),
    "another prediction": ({"prediction": 0.25}, True),
    "another segment": ({"segments": ["y"]}, True),
    "another sketch": ({"sketch": [0.5, 1.5]}, True),
    "no sketch": ({"sketch": None}, True),
    "a label": ({"label": 1.0}, True),
    "a loss": ({"loss": 1.0}, True),
    "another event time": ({"event_time": NOON - timedelta(seconds=1)}, True),
    "another moment": ({"prediction": 0.25, "recorded_at": NOON + timedelta(seconds=1)}, False),
    "another batch": ({"prediction": 0.25, "batch_id": "c"}, False),
    "another model": ({"prediction": 0.25, "model_version": "2"}, False),
}
# Values at one moment, and the label that counts; None: none does.
AT_ONCE: list[tuple[list[float | None], float | None]] = [
    ([1.0, 1.0], 1.0),
    ([0.0, 1.0], None),
    ([1.0, None], None),
    ([1.0, 1.0, 0.0], None),
    ([1.0, 7.0], 1.0),  # the one that is no label is refused for that
]


def orders(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    yield rows
    yield rows[::-1]


def records_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, forward_records().arrow_schema)


def labels_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, LABELS)


def both(
    spark: SparkSession, records: pa.Table, labels: pa.Table, rules: Rules, rule: Labels | None
) -> pa.Table:
    """The narrow rows by Spark and without it, which are the same: the first of the two."""
    frames = (spark.createDataFrame(one) for one in (records, labels))
    there = narrow(*frames, CUT, sketch=True, rules=rules, maturity=rule).toArrow()
    parts = [narrow_records(records, rules)], [narrow_labels(labels, rules)]
    here = seen_from(together(*parts), rule, CUT)
    assert assemble(here, 7, None)[1] == assemble(there, 7, None)[1]
    return there


@pytest.mark.parametrize("name", SECOND_RECORD)
def test_records_of_one_key_are_one_if_they_say_the_same_and_none_if_not(spark, name):
    change, refused = SECOND_RECORD[name]
    for rows in orders([RECORD, RECORD | change]):
        records = records_of(rows)
        found, counts = assemble(both(spark, records, labels_of([LABEL]), Rules(), None), 7, None)
        assert counts.rejects == ({reasons.DUPLICATE_DIFFERS: 2} if refused else {}), rows
        assert found.size == (0 if refused else 1)
        frame = spark.createDataFrame(records)
        assert contradicting(frame).count() == (2 if refused else 0)


@pytest.mark.parametrize(("values", "counted"), AT_ONCE)
def test_labels_of_one_moment_that_contradict_are_all_refused(spark, values, counted):
    rules = rules_for("binary", segments=1)
    for rows in orders([LABEL | {"label": value} for value in values]):
        labels = labels_of(rows)
        narrowed = both(spark, records_of([RECORD]), labels, rules, None)
        found, counts = assemble(narrowed, 7, None)
        assert found.label.tolist() == ([] if counted is None else [counted])
        frame = spark.createDataFrame(labels)
        newest = labels_as_of(frame, {"label": "label"}, CUT, rules).collect()
        assert [row["label"] for row in newest] == [counted]
        faults = label_faults(frame, rules.label).where("fault IS NOT NULL")
        rejects = {row["fault"]: row["count"] for row in faults.groupBy("fault").count().collect()}
        assert counts.rejects == rejects
        assert counts.rejects == (
            {reasons.BAD_LABEL: 1} if counted and len(set(values)) > 1
            else {} if counted else {reasons.LABEL_DIFFERS: len(values)}
        )  # fmt: skip


def test_the_older_label_counts_where_the_newest_contradict(spark):
    later = {"known_at": NOON + timedelta(hours=1)}
    rows = [LABEL | {"label": 0.0}, LABEL | later, LABEL | later | {"label": 0.0}]
    for some in orders(rows):
        narrowed = both(spark, records_of([RECORD]), labels_of(some), Rules(), None)
        assert assemble(narrowed, 7, None)[0].label.tolist() == [0.0]
        frame = spark.createDataFrame(labels_of(some))
        assert labels_as_of(frame, {"label": "label"}, CUT, Rules()).first()["label"] == 0.0


def test_an_instance_whose_labels_were_refused_is_not_one_without_a_label(spark):
    """Where the absence of a label means 0, labels that contradict are not absent."""
    rules = rules_for("binary", segments=1)
    labels = labels_of(
        [LABEL, LABEL | {"label": 0.0}, LABEL | {"instance_id": "bad", "label": 9.0}]
    )
    records = records_of([RECORD | {"instance_id": name} for name in ("a", "bad", "absent")])
    found, _ = assemble(both(spark, records, labels, rules, WINDOW), 7, None)
    assert found.kept is not None
    assert found.kept["instance_id"].to_pylist() == ["absent"]
    known = labels_as_of(spark.createDataFrame(labels), {"label": "label"}, CUT, rules)
    asked = spark.createDataFrame(records).select("instance_id", "event_time")
    assert with_labels(asked, known, WINDOW, CUT).collect() == [("absent", NOON_HERE, 0.0)]


NOON_HERE = NOON.replace(tzinfo=None)  # as Spark hands out timestamps, the session being in UTC


def test_law_1_the_order_of_arrival_decides_nothing(spark):
    """Repeats, contradictions and ties in 20 random orders: one digest."""
    random = np.random.default_rng(4)
    n = 3000
    rows = [
        RECORD
        | {
            "instance_id": f"id{random.integers(800)}",
            "recorded_at": NOON + timedelta(seconds=int(random.integers(3))),
            "segments": [str(random.choice(["x", "x", "x", "y"]))],
            "prediction": float(random.integers(2)),
        }
        for _ in range(n)
    ]
    arrived = [
        LABEL | {"instance_id": f"id{random.integers(800)}", "label": float(random.integers(2))}
        for _ in range(n // 3)
    ]
    records, labels = records_of(rows), labels_of(arrived)
    narrowed = both(spark, records, labels, Rules(), None)
    digests, rejects = set(), set()
    for _ in range(20):
        shuffled = narrowed.take(pa.array(random.permutation(narrowed.num_rows)))
        candidates, counts = assemble(shuffled, 7, None)
        policy = policy_for("calibrated", "binary")
        digests.add(select(ArrowBlocks(candidates), policy, parse_budget(0.2), 7, "binary").digest)
        rejects.add(tuple(counts.rejects.items()))
    assert len(digests) == len(rejects) == 1
    assert {reason for reason, _ in next(iter(rejects))} == {
        reasons.DUPLICATE_DIFFERS,
        reasons.LABEL_DIFFERS,
    }
