"""Bad input gets an error that names field, value and remedy, its exit code, and loses nothing."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import functions as F

import tenforward
from schemas.errors import DataQualityError
from schemas.manifests import find_manifest
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.select_sample import select_day
from tests.helpers.flights_loop import LOOPED, PIPELINE, copied, versions

Select = Callable[..., tuple[int, dict]]


def run(capfd, *arguments: object) -> tuple[int, dict]:
    """Exit code and JSON result of `tenforward ...`."""
    code = tenforward.main([str(argument) for argument in arguments])
    return code, json.loads(capfd.readouterr().out.splitlines()[-1])


@pytest.fixture
def here(loop) -> list[str]:
    return ["--pipeline", PIPELINE, "--warehouse", loop["warehouse"].root]


@pytest.fixture
def select_with(loop, capfd, tmp_path) -> Select:
    """`tenforward select` on the loop's warehouse, the pipeline file changed from old to new."""

    def select(*changes: tuple[str, str]) -> tuple[int, dict]:
        text = Path(PIPELINE).read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "p.toml").write_text(text)
        there = ["--pipeline", tmp_path / "p.toml", "--warehouse", loop["warehouse"].root]
        return run(capfd, "select", *there, "--ds", "2013-01-08")

    return select


@pytest.mark.parametrize(
    ("arguments", "code", "names"),
    [
        (["select", "--ds", "2013-01-08", "--policy", "best"], 2, ["policy", "best"]),
        (["select", "--ds", "2013-01-08", "--budget", "0"], 2, ["selection.budget", "0", "Remedy"]),
        (["select", "--ds", "2013-01-08", "--budget", "1.5"], 2, ["selection.budget", "1.5"]),
        (["select", "--ds", "2012-01-01"], 3, ["2012-01-01", "no forward records", "Remedy"]),
        (["select", "--ds", "2999-01-01"], 2, ["2999-01-01", "not over"]),
        (["score", "--ds", "2012-01-01"], 3, ["2012-01-01", "no instances", "Remedy"]),
        (["train", "--refresh", "nothing"], 2, ["nothing", "calibrated"]),
        (["backfill", "--start", "2013-01-09", "--end", "2013-01-07"], 2, ["--start", "--end"]),
        (["backfill", "--start", "2012-01-01", "--end", "2012-01-02"], 3, ["2012-01-01"]),
    ],
)  # fmt: skip
def test_law_7_the_error_names_the_field_the_value_and_the_remedy(
    loop, here, capfd, arguments, code, names
):
    before = versions(loop["warehouse"])
    got, result = run(capfd, arguments[0], *here, *arguments[1:])
    assert got == code == result["exit_code"]
    assert [name for name in names if name not in result["error"]] == []
    assert versions(loop["warehouse"]) == before


def test_a_missing_table_is_named_with_its_path(capfd, tmp_path):
    line = ["select", "--pipeline", PIPELINE, "--warehouse", tmp_path, "--ds", "2013-01-08"]
    code, result = run(capfd, *line)
    assert code == 2
    assert "not found" in result["error"]
    assert str(tmp_path) in result["error"]
    assert "tenforward ingest" in result["error"]


def test_a_missing_pipeline_file_is_named(capfd):
    code, result = run(capfd, "select", "--pipeline", "nowhere.toml", "--ds", "2013-01-08")
    assert code == 2
    assert "nowhere.toml" in result["error"]


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ('label = "late"', 'label = "tardy"', ["tardy", "late, arrival_delay"]),
        ("budget = 0.1", "budjet = 0.1", ["budjet", "'budget'"]),
        ('name = "flights"', 'name = "drop table"', ["drop table", "lower-case"]),
        ('ttl = "6h"', 'ttl = "6 hours"', ["6 hours", "28d"]),
        ("weather.temp", "weather.heat", ["features.temp", "weather.heat"]),
        ('task = "binary"', 'task = "ranking"', ["task", "ranking", "binary"]),
    ],
)
def test_law_7_a_faulty_pipeline_file_is_explained(select_with, old, new, names):
    code, result = select_with((old, new))
    assert code == 2
    assert [name for name in names if name not in result["error"]] == []


def test_a_label_column_that_the_table_lacks_is_named(select_with):
    code, result = select_with(('label = "late"', 'label = "tardy"'), ("late = {", "tardy = {"))
    assert code == 2
    assert "table labels, column tardy" in result["error"]


def with_bad_records(loop, folder, share: float):
    """A copy whose forward records, written by somebody without constraints, hold NaN losses."""
    warehouse = copied(loop["warehouse"], folder)
    path = warehouse.path("forward_records")
    for name in ("prediction_valid", "predicted"):
        warehouse.spark.sql(f"ALTER TABLE delta.`{path}` DROP CONSTRAINT {name}")
    newest = warehouse.read("forward_records").where(F.col("event_date") == F.lit(LOOPED[1]))
    chosen = F.pmod(F.xxhash64("instance_id"), F.lit(1000)) < F.lit(int(1000 * share))
    spoiled = newest.where(chosen).withColumns(
        {"prediction": F.lit(float("nan")), "recorded_at": F.current_timestamp()}
    )
    warehouse.append_once(spoiled, "forward_records", "a careless writer")
    return warehouse


def with_bad_labels(warehouse) -> None:
    """Corrections of a few labels to NaN, by the same careless writer."""
    warehouse.spark.sql(
        f"ALTER TABLE delta.`{warehouse.path('labels')}` DROP CONSTRAINT late_valid"
    )
    labels = warehouse.read("labels").where(F.col("event_date") == F.lit(LOOPED[1]))
    few = labels.where("late IS NOT NULL").orderBy("instance_id").limit(3)
    warehouse.append_once(few.withColumn("late", F.lit(float("nan"))), "labels", "careless")


@pytest.mark.slow
@pytest.mark.nightly
def test_a_few_nan_losses_and_labels_go_to_the_rejects_and_are_counted(loop, tmp_path):
    warehouse = with_bad_records(loop, tmp_path, share=0.01)
    with_bad_labels(warehouse)
    done = select_day(warehouse, LOOPED[1], force=True)
    rejects = warehouse.read("forward_rejects").toArrow().to_pylist()
    assert done["rejected"] == len(rejects) > 3
    assert done["rejects"] == {"bad-label": 3, "not-finite": len(rejects) - 3}
    records = [json.loads(r["record"]) for r in rejects if r["reason"] == "not-finite"]
    labels = [json.loads(r["record"]) for r in rejects if r["reason"] == "bad-label"]
    assert {record["prediction"] for record in records} == {"NaN"}
    assert [label["label"] for label in labels] == ["NaN"] * 3


def test_many_nan_losses_refuse_the_refresh_and_write_none(loop, tmp_path):
    warehouse = with_bad_records(loop, tmp_path, share=0.2)
    other = date(2013, 1, 9)
    assert find_manifest(warehouse.path("refreshes"), refresh_id(warehouse.pipeline, other)) is None
    with pytest.raises(DataQualityError, match=r"max_reject_share = 0\.01") as refused:
        select_day(warehouse, other)
    assert f"not-finite {refused.value.details['rejects']['not-finite']}" in str(refused.value)
    assert refused.value.exit_code == 4
    assert find_manifest(warehouse.path("refreshes"), refresh_id(warehouse.pipeline, other)) is None


def test_a_warehouse_of_another_pipeline_is_refused(select_with):
    code, result = select_with(('name = "flights"', 'name = "trains"'))
    assert code == 2
    assert "holds pipeline 'flights'" in result["error"]
