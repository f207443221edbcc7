"""What every test may use."""

from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession

from spark_jobs.session import spark_session
from tests.flights_loop import run_loop


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One session for the whole run."""
    session = spark_session("tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def loop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two real days of the loop, run once; tests that change tables work on a copy."""
    return run_loop(tmp_path_factory.mktemp("loop") / "warehouse")
