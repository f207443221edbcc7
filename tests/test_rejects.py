"""Every reason of `schemas/reasons.py`, and that nothing else is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas import reasons
from schemas.rules import rules_for
from schemas.statistics import statistics
from schemas.tables import forward_records
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.narrow import narrow
from spark_jobs.candidates.rejects import contradicting, first_fault

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
NAN, INFINITY = float("nan"), float("inf")
GOOD: dict[str, Any] = {
    "instance_id": "a", "event_time": NOON, "event_date": NOON.date(), "model_version": "7",
    "batch_id": "b", "recorded_at": NOON, "prediction": 0.5, "logits": None, "label": None,
    "loss": None, "segments": ["JFK"], "sketch": None,
}  # fmt: skip
VERSIONS = frozenset({"7"})

BINARY = {
    "a good record": ({}, None),
    "its label known": ({"label": 1.0}, None),
    "clocks that differ by a minute": ({"event_time": NOON + timedelta(minutes=1)}, None),
    "NaN": ({"prediction": NAN}, reasons.NOT_FINITE),
    "infinite": ({"prediction": -INFINITY}, reasons.NOT_FINITE),
    "a sketch with NaN": ({"sketch": [0.0, NAN]}, reasons.NOT_FINITE),
    "a label that is NaN": ({"label": NAN}, reasons.NOT_FINITE),
    "no prediction": ({"prediction": None}, reasons.NO_PREDICTION),
    "logits of another task": ({"prediction": None, "logits": [0.1, 0.2]}, reasons.NO_PREDICTION),
    "a sketch with a gap": ({"sketch": [0.0, None]}, reasons.NOT_FINITE),
    "a sketch too long": ({"sketch": [0.0] * 17}, reasons.WRONG_ARITY),
    "an empty sketch": ({"sketch": []}, reasons.WRONG_ARITY),
    "a segment key too many": ({"segments": ["JFK", "AA"]}, reasons.WRONG_ARITY),
    "an event of tomorrow": ({"event_time": NOON + timedelta(days=1)}, reasons.FUTURE_EVENT),
    "another model": ({"model_version": "8"}, reasons.UNKNOWN_MODEL),
    "no model": ({"model_version": ""}, reasons.MISSING),
}
TWENTY = statistics(np.linspace(-1, 1, 20)[None])[0].tolist()
MULTICLASS = {
    "a good record": ({"prediction": None, "logits": [0.1, 0.2, 0.3]}, None),
    "one logit": ({"prediction": None, "logits": [0.1]}, reasons.WRONG_ARITY),
    "logits too many": ({"prediction": None, "logits": [0.0] * 17}, reasons.WRONG_ARITY),
    "a logit that is infinite": ({"logits": [0.0, INFINITY]}, reasons.NOT_FINITE),
    "a prediction alone": ({}, reasons.NO_PREDICTION),
    "statistics of twenty classes": ({"prediction": None, "statistics": TWENTY}, None),
    "statistics cut short": (
        {"prediction": None, "statistics": TWENTY[:-1]}, reasons.WRONG_ARITY,
    ),
    "statistics with NaN": ({"statistics": [*TWENTY[:-1], NAN]}, reasons.NOT_FINITE),
}  # fmt: skip


@pytest.mark.parametrize(("task", "cases"), [("binary", BINARY), ("multiclass", MULTICLASS)])
def test_a_record_is_refused_for_the_first_reason_that_applies(
    spark: SparkSession, task: Any, cases: dict[str, tuple[dict[str, Any], str | None]]
) -> None:
    rows = [{**GOOD, "instance_id": name, **changes} for name, (changes, _) in cases.items()]
    frame = spark.createDataFrame(pa.Table.from_pylist(rows, forward_records().arrow_schema))
    rules = rules_for(task, segments=1, versions=VERSIONS).record
    found = frame.select("instance_id", first_fault(rules).alias("fault")).collect()
    assert {row["instance_id"]: row["fault"] for row in found} == {
        name: reason for name, (_, reason) in cases.items()
    }


def test_a_record_of_another_number_of_classes_than_declared_is_refused(
    spark: SparkSession,
) -> None:
    of_twenty = {**GOOD, "prediction": None, "statistics": TWENTY, "instance_id": "20"}
    of_three = {**GOOD, "prediction": None, "logits": [0.1, 0.2, 0.3], "instance_id": "3"}
    table = pa.Table.from_pylist([of_twenty, of_three], forward_records().arrow_schema)
    for classes, wrong in ((20, "3"), (3, "20")):
        rules = rules_for("multiclass", segments=1, classes=classes).record
        fault = first_fault(rules) == F.lit(reasons.WRONG_ARITY)
        found = spark.createDataFrame(table).where(fault)
        assert [row["instance_id"] for row in found.collect()] == [wrong]


LABELS = {
    "binary": {0.0: None, 1.0: None, 0.5: reasons.BAD_LABEL, NAN: reasons.BAD_LABEL},
    "multiclass": {9.0: None, 1.5: reasons.BAD_LABEL, -1.0: reasons.BAD_LABEL},
    "regression": {-40.5: None, INFINITY: reasons.BAD_LABEL},
}


def test_a_label_that_the_task_does_not_have_is_refused(spark: SparkSession) -> None:
    for task, cases in LABELS.items():
        frame = spark.createDataFrame(pa.table({"label": pa.array([*cases, None], pa.float64())}))
        rules = rules_for(task, segments=0).label  # type: ignore[arg-type]
        found = frame.select(first_fault(rules).alias("fault")).toArrow()
        assert found["fault"].to_pylist() == [*cases.values(), None], task


def test_records_that_contradict_each_other_are_all_refused(spark: SparkSession) -> None:
    """In arrays, as selection does it, against the obvious way; repeats that agree are kept."""
    random = np.random.default_rng(3)
    n = 400
    rows = [
        {
            **GOOD,
            "instance_id": f"id{random.integers(150)}",
            "model_version": str(random.integers(2)),
            "batch_id": str(random.integers(2)),
            "prediction": float(random.integers(2)),
        }
        for _ in range(n)
    ]
    records = spark.createDataFrame(pa.Table.from_pylist(rows, forward_records().arrow_schema))
    labels = records.select("instance_id", "label", records["recorded_at"].alias("known_at"))
    narrowed = narrow(records, labels.limit(0), NOON, sketch=False).toArrow()
    candidates, counts = assemble(narrowed, 7, provisional=0.0)
    refused = contradicting(records)
    key = ["instance_id", "model_version", "batch_id"]
    left = records.join(refused.select(*key).distinct(), key, "left_anti")
    assert counts.rejects == {reasons.DUPLICATE_DIFFERS: refused.count()}
    assert 0 < refused.count() < n
    assert candidates.size == left.select("instance_id").distinct().count()


def test_every_reason_says_what_it_means() -> None:
    names = [value for name, value in vars(reasons).items() if name.isupper()]
    assert {name for name in names if isinstance(name, str)} == set(reasons.REASONS)
    assert min(map(len, reasons.REASONS.values())) > 15
