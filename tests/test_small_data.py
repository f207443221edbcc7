"""Spark's options for small data: chosen by size, overruled by a variable, never over a user's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas.errors import ConfigurationError
from spark_jobs.select_sample import select_day
from spark_jobs.storage import small_data
from spark_jobs.storage.small_data import JAVA, QUICK, SPARK, VARIABLE, is_small, started
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small

LARGE = {
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.shuffle.partitions": "5",
    "spark.databricks.delta.snapshotPartitions": "3",
}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return small.filled(tmp_path_factory.mktemp("small"))


@pytest.fixture(autouse=True)
def by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


# --- which data are small ---


def test_the_bytes_of_all_tables_together_decide(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(file["bytes"] for name in warehouse.tables for file in warehouse.files(name))
    for most, expected in ((total, True), (total - 1, False)):
        monkeypatch.setattr(small_data, "MOST_BYTES", most)
        assert is_small(warehouse.root, warehouse.tables) is expected


def test_tables_that_are_not_there_yet_are_small(tmp_path: Path, warehouse: Warehouse) -> None:
    assert is_small(str(tmp_path), warehouse.tables)


@pytest.mark.parametrize(("value", "expected"), [("yes", True), ("no", False)])
def test_the_variable_overrules_the_size(
    value: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    assert is_small("nowhere", ["instances"], though_empty=False) is expected


def test_a_job_of_spark_submit_may_be_about_to_fill_tables_without_a_row(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    assert not is_small(str(tmp_path), warehouse.tables, though_empty=False)
    assert is_small(warehouse.root, warehouse.tables, though_empty=False)


def test_another_value_of_the_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "perhaps")
    with pytest.raises(ConfigurationError, match=r"TENFORWARD_SMALL_DATA = 'perhaps'.*Remedy"):
        is_small("nowhere", [])


# --- what is set, and what is left alone ---


class Started:
    """In place of a builder: a session of whose settings the user has given some."""

    def __init__(self, given: dict[str, str]) -> None:
        self.given, self.set, self.java = given, dict[str, str](), ""

    def getOrCreate(self) -> Any:
        self.java = os.environ.get(JAVA, "")
        conf = SimpleNamespace(contains=self.given.__contains__)
        return SimpleNamespace(
            sparkContext=SimpleNamespace(getConf=lambda: conf),
            conf=SimpleNamespace(set=self.set.__setitem__),
        )


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_data, "starts_session", lambda: True)
    monkeypatch.setattr(small_data, "starts_java", lambda: True)
    monkeypatch.delenv(JAVA, raising=False)


def begun(given: dict[str, str], **how: bool) -> Started:
    builder: Any = Started(given)
    started(builder, **how)
    done: Started = builder
    return done


def test_a_small_session_has_the_options(fresh: None) -> None:
    one = begun({}, small=True)
    assert (one.set, one.java) == (SPARK, QUICK)
    assert JAVA not in os.environ


def test_a_large_one_has_none(fresh: None) -> None:
    one = begun({}, small=False)
    assert (one.set, one.java) == ({}, "")


def test_in_one_that_lasts_java_compiles_well(fresh: None) -> None:
    one = begun({}, small=True, lasts=True)
    assert (one.set, one.java) == (SPARK, "")


def test_what_the_user_has_set_stays(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JAVA, "-XX:TieredStopAtLevel=4")
    one = begun({"spark.sql.adaptive.enabled": "true"}, small=True)
    assert one.set == {key: SPARK[key] for key in SPARK if key != "spark.sql.adaptive.enabled"}
    assert one.java.endswith(" -XX:TieredStopAtLevel=4")  # of two Java takes the last
    assert os.environ[JAVA] == "-XX:TieredStopAtLevel=4"


def test_under_spark_submit_java_is_running_and_has_its_options(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_data, "starts_java", lambda: False)
    one = begun({"spark.sql.shuffle.partitions": "16"}, small=True)
    assert one.set == {key: SPARK[key] for key in SPARK if key != "spark.sql.shuffle.partitions"}
    assert one.java == ""


def test_a_session_that_is_there_is_left_as_it_is(spark: SparkSession) -> None:
    before = {key: spark.conf.get(key, None) for key in SPARK}
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    started(SparkSession.builder, small=True)
    assert spark.conf.get("spark.sql.shuffle.partitions") == "7"
    spark.conf.set("spark.sql.shuffle.partitions", before["spark.sql.shuffle.partitions"] or "2")


# --- and the sample ---


@pytest.mark.slow
@pytest.mark.nightly
def test_law_1_the_sample_is_the_same_either_way(spark: SparkSession, tmp_path: Path) -> None:
    warehouse = small.filled(tmp_path)
    before = {key: spark.conf.get(key, None) for key in SPARK}
    digests = []
    try:
        for options in (SPARK, LARGE):
            for key, value in options.items():
                spark.conf.set(key, value)
            digests.append(select_day(warehouse, small.DAYS[2], force=True)["sample_digest"])
    finally:
        for key, given in before.items():
            spark.conf.unset(key) if given is None else spark.conf.set(key, given)
    assert digests[0] == digests[1]


@pytest.mark.slow
@pytest.mark.nightly
def test_law_1_commands_started_either_way_select_the_same(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    code = (
        "import json, sys; from pathlib import Path\n"
        "from pyspark.sql import SparkSession\n"
        "from spark_jobs.select_sample import select_day\n"
        "from tests.helpers import small_warehouse as small\n"
        "warehouse = small.filled(Path(sys.argv[1]))\n"
        "digest = select_day(warehouse, small.DAYS[2])['sample_digest']\n"
        "conf = SparkSession.active().conf\n"
        "print(json.dumps([digest, conf.get('spark.sql.adaptive.enabled')]))\n"
    )

    def run(arm: str) -> list[str]:
        environment = {**os.environ, VARIABLE: arm}
        environment.pop(JAVA, None)
        line = [sys.executable, "-c", code, str(tmp_path / arm)]
        done = subprocess.run(
            line, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told: list[str] = json.loads(done.stdout.splitlines()[-1])
        return told

    (with_, adaptive), (without, plain) = run("yes"), run("no")
    assert with_ == without
    assert (adaptive, plain) == ("false", "true")
