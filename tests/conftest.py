"""What every test may use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from spark_jobs.session import spark_session
from spark_jobs.warehouse import Warehouse
from tests.flights_loop import run_loop, twin_of, versions


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One session for the whole run."""
    session = spark_session("tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def loop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Two real days of the loop, run once; tests that change tables work on a copy."""
    ran = run_loop(tmp_path_factory.mktemp("loop") / "warehouse")
    before = versions(ran["warehouse"])
    yield ran
    assert versions(ran["warehouse"]) == before, "a test changed the tables that all tests share"


@pytest.fixture
def twin(loop: dict[str, Any], tmp_path: Path) -> Warehouse:
    """The whole warehouse of the loop again, registry included, to be changed."""
    return twin_of(loop["warehouse"], tmp_path)
