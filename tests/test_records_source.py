"""`[records] source`: who brings the records of a day, and which of them are answers."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.errors import ConfigurationError, NoDataError
from schemas.pipeline import load_pipeline
from spark_jobs import backfill
from spark_jobs.days import answered
from spark_jobs.days.planned import plan
from spark_jobs.days.told import line_of, plan_line, summary_table
from spark_jobs.due import due
from spark_jobs.refresh.registered import Models
from spark_jobs.score import score_day
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import PIPELINE

LOG = """
path = "log"
instance_id = "id"
event_time = "at"
model_version = { value = "v1" }
prediction = { column = "p", kind = "probability" }
segments = ["airport", "airline"]
"""


# --- the section ---


@pytest.mark.parametrize(
    ("section", "source"),
    [
        ("", "score"),
        ("[records]" + LOG, "import"),
        ('[records]\nsource = "online"', "online"),
        ('[records]\nsource = "score"' + LOG, "score"),  # the log is imported by hand
    ],
)
def test_where_records_come_from(tmp_path: Path, section: str, source: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f"{Path(PIPELINE).read_text()}\n{section}")
    pipeline = load_pipeline(file)
    assert pipeline.records_from == source
    assert (pipeline.log is None) == ("path" not in section)
    again = type(pipeline).model_validate(pipeline.model_dump())  # what a process hands to another
    assert again == pipeline


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ('source = "kafka"', ["records.source", "kafka", "score, online, import"]),
        ('source = "import"', ["records.path: missing", "records.prediction: missing"]),
        ('source = "online"\nsketch = "vector"', ["records.path: missing"]),
        (
            LOG.replace('path = "log"\n', ""),
            ["records.path: missing. Remedy: add where the log is"],
        ),
        ("", ["records.path: missing"]),
    ],
)
def test_law_7_a_section_that_says_too_little_is_refused(
    tmp_path: Path, section: str, words: list[str]
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f"{Path(PIPELINE).read_text()}\n[records]\n{section}\n")
    with pytest.raises(ConfigurationError) as refused:
        load_pipeline(file)
    assert [word for word in words if word not in str(refused.value)] == []


# --- which records are answers ---

NOON = datetime(2026, 2, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=2)
CUT = datetime(2026, 2, 2, tzinfo=UTC)  # no later than the event
MODELS = Models(("1", "2", "3"), {"1": CUT, "2": CUT, "3": LATER})
# batch, model version, when it was recorded -> an answer where version 2 serves; where version 3
ANSWERS = [
    ("score/2026-02-02/1/1", "1", NOON, True, True),
    ("score/2026-02-02/3/1", "3", NOON, True, True),  # served, though it had learnt from it
    ("recorder/a/7", "1", NOON, True, True),  # whoever wrote it, by whichever version
    ("import/2026-02-02/1", "1", LATER, True, True),
    ("of my own", "1", NOON, True, True),
    ("recorder/a/7", "3", NOON, False, True),  # in sample: one that is not is wanted, if it can be
    ("recorder/a/7", "9", NOON, False, False),  # selection refuses it
    ("shadow/2026-02-02/1/2", "1", NOON, False, False),  # did not serve
    ("shadow/2026-02-02/2/2", "2", NOON, True, False),  # but this version answers once
]
RECORDS = pa.table(
    {
        "instance_id": [str(number) for number in range(len(ANSWERS))],
        "event_time": pa.array([NOON] * len(ANSWERS), pa.timestamp("us", "UTC")),
        "batch_id": [row[0] for row in ANSWERS],
        "model_version": [row[1] for row in ANSWERS],
        "recorded_at": pa.array([row[2] for row in ANSWERS], pa.timestamp("us", "UTC")),
    }
)


@pytest.mark.parametrize(("version", "place"), [("2", 3), ("3", 4)])
def test_a_record_that_served_is_an_answer_whoever_made_it(
    spark: SparkSession, version: str, place: int
) -> None:
    wanted = [row[place] for row in ANSWERS]
    assert answered.answers(RECORDS, version, MODELS, LATER).to_pylist() == wanted
    rows = spark.createDataFrame(RECORDS)
    found = rows.where(answered._answers(version, MODELS, LATER)).select("instance_id").collect()
    assert {row[0] for row in found} == {str(n) for n, served in enumerate(wanted) if served}
    nothing_known = rows.where(answered._answers(version, Models(), LATER))
    assert nothing_known.where(F.col("batch_id").startswith("recorder")).count() == 3


# --- the days of a server, and of a log ---

FIRST, SECOND, THIRD = small.DAYS


def served(folder: Path, source: str, recorded: tuple[date, ...]) -> Any:
    """Three days, of which a server's recorder has brought the records of some."""
    asked = small.instances()
    records = [
        row | {"batch_id": "recorder/a/1"}
        for row in small.records(asked)
        if row["event_date"] in recorded
    ]
    log = {"path": str(folder / "log"), "instance_id": "id", "event_time": "at"}
    log |= {"model_version": {"value": "1"}, "prediction": {"column": "p", "kind": "logit"}}
    log |= {"segments": ["shop"], "format": "parquet"}
    section = {"source": source} | (log if source == "import" else {})
    pipeline = small.pipeline(records=section)
    return small.filled(folder, pipeline, records=records)


def test_a_server_brings_the_records_and_nothing_is_answered(tmp_path: Path) -> None:
    warehouse = served(tmp_path, "online", (FIRST, THIRD))
    planned = plan(warehouse, FIRST, THIRD)
    assert [day["scored"] for day in planned] == [True, False, True]
    assert [day["to_score"] for day in planned] == [0, 0, 0]
    assert [day["due"] for day in planned] == [True, False, True]
    assert [day["candidates"] > 0 for day in planned] == [True, False, True]
    assert plan_line(planned[1]).startswith(f"{SECOND}: 20 instances, no record has come, not due")
    assert list(backfill.steps_of(warehouse.pipeline, None, force=False)) == [
        *("due", "select", "train")
    ]

    told = due(warehouse.pipeline, warehouse.root, SECOND)
    assert told["status"] == "not due"
    assert told["reason"].startswith(f"no record of {SECOND} has come, of 20 instances")
    assert due(warehouse.pipeline, warehouse.root, THIRD)["status"] == "due"
    assert "no record" in line_of({"ds": SECOND, "due": told})

    answer = {day: score_day(warehouse, day)["status"] for day in (FIRST, SECOND)}
    assert answer == {FIRST: "already done", SECOND: "nothing to do"}


def test_a_server_leaves_nothing_to_score_alone(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f'{Path(PIPELINE).read_text()}\n[records]\nsource = "online"\n')
    line = ["--pipeline", str(file), "--warehouse", str(tmp_path / "warehouse")]
    with pytest.raises(ConfigurationError, match="a server's recorder brings the records"):
        backfill.command([*line, "--start", "2013-01-01", "--end", "2013-01-02", "--only", "score"])


def test_a_log_is_imported_in_place_of_scoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = served(tmp_path, "import", (FIRST,))

    def imported(_: Any, start: date, end: date) -> dict[str, Any]:
        """In place of a Spark job, of which other tests are."""
        if end != SECOND:
            raise NoDataError(f"no rows from {start} to {end}")
        return {"status": "done", "records": 20}

    monkeypatch.setattr(backfill, "import_records", imported)
    done = backfill.backfill(warehouse, FIRST, THIRD, only="score")
    assert [day["import-records"]["status"] for day in done] == [
        *("already done", "done", "nothing to do")
    ]
    assert line_of(done[1]) == "imported 20"
    assert "no record of 2026-02-03 has come" in line_of(done[2])
    head, *_, last = summary_table(done)
    assert "imported" in head
    assert last.endswith("no record")
    steps = backfill.steps_of(warehouse.pipeline, None, force=False)
    assert list(steps) == ["import-records", "select", "train"]
    assert score_day(warehouse, THIRD)["status"] == "nothing to do"


@pytest.mark.slow
@pytest.mark.nightly
def test_days_of_a_log_are_imported_and_selected(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has nothing of the second day. A repeat finds everything done."""
    warehouse = served(tmp_path, "import", ())
    rows = [row for row in small.records(small.instances()) if row["event_date"] != SECOND]
    log = pa.table(
        {
            "id": [row["instance_id"] for row in rows],
            "at": pa.array([row["event_time"] for row in rows], pa.timestamp("us", "UTC")),
            "p": [row["prediction"] for row in rows],
            "shop": [row["segments"][0] for row in rows],
        }
    )
    (tmp_path / "log").mkdir()
    pq.write_table(log, tmp_path / "log" / "a.parquet")
    steps = {name: run for name, run in backfill.STEPS.items() if name != "train"}
    monkeypatch.setattr(backfill, "STEPS", steps)
    done = backfill.backfill(warehouse, FIRST, THIRD)
    assert [list(day) for day in done] == [
        ["ds", "import-records", "select"],
        ["ds", "import-records"],
        ["ds", "import-records", "select"],
    ]
    assert [day["import-records"].get("records") for day in done] == [20, 0, 20]
    assert [day["select"]["status"] for day in (done[0], done[2])] == ["done", "done"]
    again = backfill.backfill(warehouse, FIRST, THIRD)
    assert backfill.summary("shops", again)["status"] == "done"  # the second day had nothing to do
    assert {day["import-records"]["status"] for day in again} == {"already done", "nothing to do"}
    assert [day["select"]["status"] for day in (again[0], again[2])] == ["already done"] * 2
