"""What every test may use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from spark_jobs.storage.session import spark_session
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import loop_of_all, twin_of, versions

# Secrets in the environment of everything that the tests start; tests/test_secrets.py searches for
# them in what was left.
PLANTED = {
    "MLFLOW_TRACKING_PASSWORD": "planted-password-51c0",
    "AIRFLOW_CONN_LAKE": "aws://key:planted-connection-77ab@",
    "LAKE_TOKEN": "planted-token-0e9d",
}
os.environ.update(PLANTED)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One session for the whole run."""
    session = spark_session("tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def loop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Two real days of the loop, run once; tests that change tables work on a copy."""
    own = tmp_path_factory.mktemp("loop")
    # Test processes side by side have folders of their own in one folder.
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    ran = loop_of_all(shared / "flights_loop", own)
    before = versions(ran["warehouse"])
    yield ran
    assert versions(ran["warehouse"]) == before, "a test changed the tables that all tests share"


@pytest.fixture
def twin(loop: dict[str, Any], tmp_path: Path) -> Warehouse:
    """The whole warehouse of the loop again, registry included, to be changed."""
    return twin_of(loop["warehouse"], tmp_path)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of `small_pipeline` with two refreshes; tests that alter it take a copy."""
    from tests.helpers.trainer_tables import small_pipeline, two_refreshes

    return two_refreshes(tmp_path_factory.mktemp("written"), small_pipeline())


@pytest.fixture
def warehouse(written: Path, tmp_path: Path) -> Path:
    """The small warehouse again, to be changed."""
    return Path(shutil.copytree(written, tmp_path / "warehouse"))


# Files that take minutes: dealt first, so that at the end no process works on one of them while the
# others have nothing left, and so that at most two that start whole systems run side by side.
# (`--no-loadscope-reorder`, or xdist would deal the files with the most tests first.)
FIRST = (
    "test_scheduler",
    "test_cluster",
    "test_recorder_durability",
    "test_score_frequencies",
    "test_processes",
    "test_digits_loop",
    "test_torture",
    "test_up",
    "test_three_ways",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One file that wants the loop, then those that do not, then the others that do: the first
    process runs it, for more than a minute, and none waits for it meanwhile."""
    place = {name: number for number, name in enumerate(FIRST)}
    wants = {item.path.stem for item in items if "loop" in getattr(item, "fixturenames", ())}
    maker = min(wants - place.keys(), default="")

    def rank(item: pytest.Item) -> int:
        own = item.path.stem
        later = len(place) + (0 if own == maker else 2 if own in wants else 1)
        return place.get(own, later)

    items.sort(key=rank)
