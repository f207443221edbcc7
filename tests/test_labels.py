"""Labels that come late, are corrected, or never come: when they count, and for which refresh."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.errors import ConfigurationError, DataQualityError
from schemas.pipeline import load_pipeline
from schemas.sections.store import Labels
from spark_jobs.candidates import maturity, spark_maturity
from spark_jobs.candidates.maturity import where_counted
from spark_jobs.candidates.spark_maturity import with_labels
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE, copied, manifest_of

CUT = datetime(2013, 7, 2, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
YOUNG, EDGE, OLD = (CUT - timedelta(hours=hours) for hours in (47, 48, 49))
RULES = {"arrival": None, "delay": "48h", "window": "48h"}

# What counts of a label (null: none came) for an event of that age.
COUNTS = {
    ("arrival", YOUNG): {0.0: 0.0, 1.0: 1.0, None: None},
    ("arrival", OLD): {0.0: 0.0, 1.0: 1.0, None: None},
    ("delay", YOUNG): {0.0: None, 1.0: None, None: None},
    ("delay", EDGE): {0.0: 0.0, 1.0: 1.0, None: None},
    ("delay", OLD): {0.0: 0.0, 1.0: 1.0, None: None},
    ("window", YOUNG): {0.0: None, 1.0: None, None: None},
    ("window", EDGE): {0.0: 0.0, 1.0: 1.0, None: 0.0},
    ("window", OLD): {0.0: 0.0, 1.0: 1.0, None: 0.0},
}


def rule_of(name: str) -> Labels:
    columns = {"late": {"type": "float64"}}
    return Labels.model_validate(
        {"columns": columns, "label": "late", "maturity": name, "after": RULES[name]}
    )


@pytest.mark.parametrize("name", RULES)
def test_a_label_counts_when_its_rule_says_so_in_spark_and_in_arrays(
    spark: SparkSession, name: str
) -> None:
    cases = [
        (f"{event:%d%H}-{label}", event, label, counted)
        for (rule, event), labels in COUNTS.items()
        if rule == name
        for label, counted in labels.items()
    ]
    ids, events, labels, counted = (list(column) for column in zip(*cases, strict=True))
    expected = {i: c for i, c in zip(ids, counted, strict=True) if c is not None}
    asked = spark.createDataFrame(
        pa.table({"instance_id": ids, "event_time": pa.array(events, TIME)})
    )
    known = pa.table({"instance_id": ids, "label": pa.array(labels, pa.float64())})
    known = known.filter(known["label"].is_valid())
    came = spark.createDataFrame(known).withColumn("refused", F.lit(False))
    found = with_labels(asked, came, rule_of(name), CUT).collect()
    assert {row["instance_id"]: row["label"] for row in found} == expected
    column = spark_maturity.counting(rule_of(name), CUT).alias("c")
    by_id = {row["instance_id"]: row["c"] for row in asked.select("instance_id", column).collect()}
    codes = np.array([by_id[one] for one in ids])
    here = maturity.counting(pa.array(events, TIME), rule_of(name), CUT)
    np.testing.assert_array_equal(here, codes)
    refused = np.zeros(codes.size, bool)
    assert where_counted(pa.array(labels, pa.float64()), codes, refused).to_pylist() == counted


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('label = "late"', 'label = "late"\nmaturity = "delay"', "after: None with maturity"),
        ('label = "late"', 'label = "late"\nafter = "2d"', "'2d' with maturity = 'arrival'"),
        ('label = "late"', 'label = "late"\nmaturity = "delay"\nafter = "28d"', "is 28d old"),
    ],
)
def test_law_7_a_rule_that_cannot_work_is_refused(tmp_path, old, new, words):
    (tmp_path / "p.toml").write_text(Path(PIPELINE).read_text().replace(old, new, 1))
    with pytest.raises(ConfigurationError, match="labels") as refused:
        load_pipeline(tmp_path / "p.toml")
    assert words in str(refused.value)


def flipped(warehouse: Warehouse, known_at: datetime) -> None:
    """Corrections of half of a day's labels, known from that moment on, written now."""
    day = warehouse.read("labels").where(F.col("event_date") == F.lit(LOOPED[0]))
    half = day.where(F.pmod(F.xxhash64("instance_id"), F.lit(2)) == 0)
    moment = F.lit(known_at)
    rows = half.withColumns({"late": 1.0 - F.col("late"), "known_at": moment})
    warehouse.append_once(rows, "labels", f"corrected {known_at}")


def probabilities(warehouse: Warehouse, refresh: str) -> list[dict[str, Any]]:
    rows = warehouse.read("selection_probabilities").where(F.col("refresh_id") == refresh)
    table = rows.select("instance_id", "label", "probability", "weight", "drawn").toArrow()
    return sorted(table.to_pylist(), key=lambda row: str(row["instance_id"]))


@pytest.fixture
def warehouse(loop, tmp_path) -> Warehouse:
    return copied(loop["warehouse"], tmp_path)


@pytest.mark.slow
@pytest.mark.nightly
def test_law_1_a_past_refresh_is_rebuilt_exactly_after_late_labels_arrived(warehouse):
    day = LOOPED[1]
    name = refresh_id(warehouse.pipeline, day)
    then, digest = probabilities(warehouse, name), select_day(warehouse, day)["sample_digest"]
    flipped(warehouse, datetime(2013, 1, 8, 12, tzinfo=UTC))  # arrived late, known before the cut
    assert probabilities(warehouse, name) == then
    rebuilt = select_day(warehouse, day, rebuild=True)
    assert (rebuilt["status"], rebuilt["sample_digest"]) == ("done", digest)
    assert probabilities(warehouse, name) == then
    assert select_day(warehouse, day, force=True)["sample_digest"] != digest
    with pytest.raises(ConfigurationError, match=r"no refresh .* to rebuild\. Remedy"):
        select_day(warehouse, date(2013, 1, 6), rebuild=True)


def test_law_5_a_correction_counts_for_refreshes_whose_cut_comes_after_it(warehouse):
    before = select_day(warehouse, LOOPED[1])
    flipped(warehouse, datetime(2013, 1, 9, 12, tzinfo=UTC))  # after the cut of the 8th
    same = select_day(warehouse, LOOPED[1], force=True)
    assert same["sample_digest"] == before["sample_digest"]
    later = select_day(warehouse, date(2013, 1, 9))
    old, new = (
        {row["instance_id"]: row["label"] for row in probabilities(warehouse, one["refresh_id"])}
        for one in (before, later)
    )
    changed = [one for one in old.keys() & new.keys() if old[one] != new[one]]
    assert len(changed) > 100


def test_a_rebuild_that_differs_is_refused_and_writes_nothing(warehouse):
    version = warehouse.version("sampled")
    other = replace(manifest_of(warehouse, refresh_id(warehouse.pipeline, LOOPED[1])), seed=5)
    row = warehouse.spark.createDataFrame(other.to_table())
    warehouse.replace_refresh(row, "refreshes", other.refresh_id)
    with pytest.raises(DataQualityError, match="rebuilt with digest"):
        select_day(warehouse, LOOPED[1], rebuild=True)
    assert warehouse.version("sampled") == version


def test_an_attribution_window_gives_neither_class_before_it_is_over(warehouse):
    """On flights: by the end of the 8th, those of the 7th have had their day, the others not.
    Positives that count at once would be alone among the newest."""
    rule = warehouse.pipeline.labels.model_copy(update={"maturity": "window", "after": "1d"})
    other = Warehouse(warehouse.root, warehouse.pipeline.model_copy(update={"labels": rule}))
    done = select_day(other, LOOPED[1])
    rows = other.read("selection_probabilities").where(F.col("refresh_id") == done["refresh_id"])
    over = F.col("event_time") <= F.lit(datetime(2013, 1, 8, tzinfo=UTC))
    by_age = {
        row["over"]: (row["positive"], row["negative"])
        for row in rows.groupBy(over.alias("over"))
        .agg(F.sum("label").alias("positive"), F.sum(1 - F.col("label")).alias("negative"))
        .collect()
    }
    assert set(by_age) == {True}
    assert min(by_age[True]) > 0
