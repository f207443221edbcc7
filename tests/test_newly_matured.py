"""What `due` counts is what selection sees (law 6): the narrow table without Spark, to the row."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from schemas import reasons
from schemas.columns import TYPES
from schemas.rules import Rules, rules_for
from schemas.sections.store import Labels
from schemas.tables import forward_records
from spark_jobs.candidates.arrow_narrow import (
    NARROW,
    narrow_labels,
    narrow_records,
    seen_from,
    together,
)
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.narrow import narrow
from spark_jobs.selection.records import Records

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
CUT = NOON + timedelta(hours=12)
N = 3000
MATURITY = {"arrival": None, "delay": "6h", "window": "6h"}
RULES = rules_for("binary", segments=1, versions=frozenset({"1", "2", "é"}))


def rule_of(name: str) -> Labels:
    columns = {"late": {"type": "float64"}}
    return Labels.model_validate(
        {"columns": columns, "label": "late", "maturity": name, "after": MATURITY[name]}
    )


def hours(random: np.random.Generator, low: int, high: int) -> list[datetime]:
    return [NOON + timedelta(hours=int(h)) for h in random.integers(low, high, N)]


@pytest.fixture(scope="module")
def logged() -> tuple[pa.Table, pa.Table]:
    """Records and labels that repeat, contradict, tie, come late, and cannot be used."""
    random = np.random.default_rng(8)
    one_of = lambda *values: [values[i] for i in random.integers(len(values), size=N)]  # noqa: E731
    event = hours(random, -12, 12)
    record: dict[str, Any] = {
        "instance_id": [f"id{i}" for i in random.integers(0, 900, N)],
        "event_time": event,
        "event_date": [one.date() for one in event],
        "model_version": one_of("1", "1", "1", "2", "é", "9", ""),
        "batch_id": one_of("a", "a long name of a batch, of more than 32 bytes", ""),
        "recorded_at": hours(random, 10, 14),
        "prediction": one_of(0.5, 0.5, 0.5, 0.25, -1.0, float("nan"), None),
        "logits": [None] * N,
        "statistics": [None] * N,
        "label": one_of(None, None, None, float("inf"), 1.0),
        "loss": [None] * N,
        "segments": one_of(["x"], ["x"], ["x"], ["y"], ["x", "y"], []),
        "sketch": one_of(None, None, [0.5], [], [None], [1e31]),
        "propensity": one_of(None, None, None, 0.5, 0.25, 1.5),
    }
    label = {
        "instance_id": [f"id{i}" for i in random.integers(0, 1000, N)],
        "known_at": hours(random, -6, 20),
        "label": one_of(0.0, 1.0, 0.0, 1.0, None, 0.5, float("nan")),
    }
    moment = TYPES["timestamp"].arrow
    schema = pa.schema([("instance_id", "string"), ("known_at", moment), ("label", "double")])
    records = pa.Table.from_pydict(record, forward_records().arrow_schema)
    return records, pa.Table.from_pydict(label, schema)


def there(spark: SparkSession, logged: tuple[pa.Table, pa.Table], name: str) -> pa.Table:
    """The narrow table by Spark."""
    records, labels = (spark.createDataFrame(table) for table in logged)
    rule = rule_of(name)
    return narrow(records, labels, CUT, sketch=False, rules=RULES, maturity=rule).toArrow()


def here(logged: tuple[pa.Table, pa.Table], rules: Rules, name: str) -> pa.Table:
    """The narrow table without Spark, of two files of records and three of labels."""
    records, labels = logged
    parts = [narrow_records(one, rules) for one in (records.slice(0, 1000), records.slice(1000))]
    arrived = [narrow_labels(labels.slice(at, 1000), rules) for at in (0, 1000, 2000)]
    return seen_from(together(parts, arrived), rule_of(name), CUT)


@pytest.mark.parametrize("name", MATURITY)
def test_law_6_the_narrow_table_is_that_of_spark(spark, logged, name):
    for found, wanted in zip(
        parted(here(logged, RULES, name)), parted(there(spark, logged, name)), strict=True
    ):
        assert found == wanted


def parted(rows: pa.Table) -> tuple[list[str], list[str]]:
    """Records and labels, in any one order; of a label nobody asks what counts of its event."""
    rows = rows.select([*NARROW.names, "counting"])
    is_label = rows["is_label"]
    records, labels = rows.filter(pc.invert(is_label)), rows.filter(is_label)
    parts = records, labels.drop_columns(["counting"])
    first, second = (sorted(map(repr, one.to_pylist())) for one in parts)
    return first, second


@pytest.mark.parametrize("name", MATURITY)
def test_law_6_the_candidates_are_those_of_spark(spark, logged, name):
    learnt_until = {"1": NOON}  # of the model "2" nothing is known
    wanted, counts = assemble(there(spark, logged, name), 1, None, learnt_until)
    found, told = assemble(here(logged, RULES, name), 1, None, learnt_until)
    assert told == counts
    assert told.in_sample > 10
    assert counts.rejects.keys() == {
        *(rule.reason for rule in (*RULES.record, *RULES.label)),
        reasons.DUPLICATE_DIFFERS,
        reasons.LABEL_DIFFERS,
    }
    assert by_id(found) == by_id(wanted)
    assert found.size > 100


def by_id(records: Records) -> dict[str, tuple[Any, float]]:
    assert records.kept is not None
    ids = records.kept["instance_id"].to_pylist()
    answers = records.prediction.tolist(), records.label.tolist()
    return dict(zip(ids, zip(*answers, strict=True), strict=True))


def test_no_rows_are_a_narrow_table_too():
    rows = seen_from(together([], []), None, CUT)
    assert assemble(rows, 1, None)[0].size == 0
