"""What cannot be used stands once (law 6): Spark and Arrow give every row the same reason."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from numpy.random import Generator
from pyspark.sql import SparkSession

from schemas import arrow_rules, reasons
from schemas.bounds import LARGEST
from schemas.pipeline import Task
from schemas.rules import Rule, Rules, Test, rules_for
from schemas.statistics import statistics
from schemas.tables import forward_records
from spark_jobs.candidates import rejects

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBERS = [
    None, 0.0, -0.0, 0.5, 1.0, -1.0, 2.0, math.nan, math.inf, -math.inf, LARGEST, -LARGEST, 1e31,
    -1e300, math.nextafter(LARGEST, 0), 5e-324,
]  # fmt: skip
KEPT = statistics(np.linspace(-1, 1, 20)[None])[0].tolist()
VERSIONS = frozenset({"3", "4"})
SCHEMA = pa.schema(
    [field.with_nullable(True) for field in forward_records().arrow_schema]
    + [pa.field("probability", pa.float64())]
)
TASKS: list[tuple[Task, int | None]] = [
    ("binary", None), ("regression", None), ("multiclass", None), ("multiclass", 3),
    ("multiclass", 20),
]  # fmt: skip


def one_of(random: Generator, usual: Any, *odd: Any) -> Any:
    """Mostly the usual value, else one of the others."""
    return usual if random.random() < 0.8 else odd[random.integers(len(odd))]


def lists(random: Generator, longest: int) -> list[float | None] | None:
    """A list of 0 to `longest` numbers, now and then of odd ones."""
    if random.random() < 0.5:
        return None
    length = int(random.integers(longest + 1))
    return [one_of(random, 0.25, *NUMBERS, float(np.float32(LARGEST))) for _ in range(length)]


def record(random: Generator) -> dict[str, Any]:
    """A record of which about half of the columns could be a good one's."""
    minutes = one_of(random, 0, 5, 6, -1)
    kept = [*KEPT] if random.random() < 0.3 else None
    if kept and random.random() < 0.5:
        kept = one_of(
            random, [3.0, *KEPT[1:]], [], [math.nan, *KEPT[1:]], [None, *KEPT[1:]], [1e20]
        )
    keys = one_of(random, ["a", "b"], None, [], ["a"], ["a", None], ["a", "b", "c"])
    return {
        "instance_id": one_of(random, "id", "", None),
        "event_time": one_of(random, NOON + timedelta(minutes=minutes), None),
        "model_version": one_of(random, "3", "5", "", None),
        "recorded_at": one_of(random, NOON, None),
        "prediction": one_of(random, 0.5, *NUMBERS),
        "probability": one_of(random, None, *NUMBERS),
        "logits": lists(random, one_of(random, 3, 17)),
        "statistics": kept,
        "label": one_of(random, None, *NUMBERS),
        "segments": keys,
        "sketch": lists(random, 17),
        "propensity": one_of(random, None, 1e-12, *NUMBERS),
    }


@pytest.fixture(scope="module")
def records() -> pa.Table:
    random = np.random.default_rng(6)
    return pa.Table.from_pylist([record(random) for _ in range(6000)], SCHEMA)


def of_task(task: Task, classes: int | None, **more: Any) -> Rules:
    return rules_for(task, segments=2, classes=classes, versions=VERSIONS, **more)


def both(spark: SparkSession, table: pa.Table, rules: Sequence[Sequence[Rule]]) -> list[list[Any]]:
    """The reasons of all rows by each of the rules, which Spark and Arrow agree on."""
    columns = [rejects.first_fault(one).alias(f"f{number}") for number, one in enumerate(rules)]
    by_spark = spark.createDataFrame(table).coalesce(1).select(*columns).toArrow()
    found = [by_spark[name].to_pylist() for name in by_spark.column_names]
    for one, reason in zip(rules, found, strict=True):
        assert arrow_rules.first_fault(table, one).to_pylist() == reason, one
    return found


def test_law_6_spark_and_arrow_give_a_record_the_same_reason(spark, records):
    rules = [
        of_task(task, classes, probabilities=probabilities).record
        for task, classes in TASKS
        for probabilities in (False, True)
    ]
    for one, found in zip(rules, both(spark, records, rules), strict=True):
        assert set(found) == {None, *(rule.reason for rule in one)}


def test_law_6_each_test_alone_holds_of_the_same_rows(spark, records):
    """The first reason hides the others: here none does."""
    alone = {
        test: [Rule("x", (test,))]
        for task, classes in TASKS
        for rule in of_task(task, classes, probabilities=True).record
        for test in rule.tests
    }
    for test, found in zip(alone, both(spark, records, list(alone.values())), strict=True):
        assert set(found) == {None, "x"}, test


def test_law_6_spark_and_arrow_give_a_label_the_same_reason(spark):
    labels = [*NUMBERS, 3.0, 2.5, 15.0, 16.0, 19.0]
    pairs = [(label, weight) for label in labels for weight in NUMBERS]
    columns = (pa.array(one, pa.float64()) for one in zip(*pairs, strict=True))
    table = pa.table(dict(zip(("label", "row_weight"), columns, strict=True)))
    plain = [of_task(task, classes).label for task, classes in TASKS]
    weighted = [of_task(task, classes, weighted=True).label for task, classes in TASKS]
    found = both(spark, table, plain + weighted)
    for one in found[: len(plain)]:
        assert set(one) == {None, reasons.BAD_LABEL}
    for one in found[len(plain) :]:
        assert set(one) == {None, reasons.BAD_LABEL, reasons.BAD_WEIGHT}
        sound = [pair for pair, fault in zip(pairs, one, strict=True) if fault is None]
        assert {weight for label, weight in sound if label is not None} == {
            *(one for one in NUMBERS if one is not None and 0 <= one <= LARGEST)
        }
        assert (None, None) in sound  # no label has come yet, and no weight


def test_law_6_arrow_judges_a_slice_and_chunks_as_it_judges_the_whole(records):
    rules = of_task("multiclass", 20).record
    whole = arrow_rules.first_fault(records, rules).to_pylist()
    assert arrow_rules.first_fault(records.slice(17, 900), rules).to_pylist() == whole[17:917]
    chunks = pa.concat_tables([records.slice(0, 50), records.slice(50)])
    assert arrow_rules.first_fault(chunks, rules).to_pylist() == whole
    assert arrow_rules.first_fault(records.slice(0, 0), rules).to_pylist() == []


def test_law_6_what_the_rules_let_through_the_table_takes(records):
    """Each number is in its column's range, each list has its column's length."""
    for task, classes in TASKS:
        fault = arrow_rules.first_fault(records, of_task(task, classes).record)
        good = records.filter(pa.compute.is_null(fault)).to_pylist()
        assert len(good) > 50
        for column in forward_records().columns:
            values = [row[column.name] for row in good if row[column.name] is not None]
            if column.lengths is not None:
                least, most = column.lengths
                assert all(least <= len(one) <= most for one in values), column.name
                values = [number for one in values for number in one]
                assert None not in values, column.name
            if column.type in ("float64", "floats"):
                assert all(column.range.least <= one <= column.range.most for one in values), (
                    column.name
                )


def test_both_backends_know_every_test():
    used = {
        type(test)
        for task, classes in TASKS
        for rules in of_task(task, classes, probabilities=True, weighted=True)
        for rule in rules
        for test in rule.tests
    }
    assert used == set(get_args(Test))


def test_without_rules_nothing_is_refused(records):
    assert arrow_rules.first_fault(records, Rules().record).null_count == records.num_rows


def test_law_6_the_largest_number_stands_once():
    root = Path(__file__).resolve().parents[1]
    rooms = ("schemas", "spark_jobs", "trainer", "inference", "console")
    files = [file for room in rooms for file in (root / room).rglob("*.py")]
    again = [file.name for file in files if "1e30" in file.read_text()]
    assert again == ["bounds.py"]
