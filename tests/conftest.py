"""What every test may use."""

from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession

from spark_jobs.session import spark_session
from tests.flights_loop import run_loop


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes share the tests: one has the Spark session, so there is one of it in all."""
    for item in items:
        shared = {"spark", "loop"} & set(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group("spark" if shared else item.path.name))


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
