"""Law 2 where two runs do the same work at once: the rows are there once, the loser exits with 5.

One run overtakes another at one of two places: before the other's Delta transaction begins, where
Delta skips the second write without a word, or after it, where Delta refuses the second commit.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from schemas.errors import ConflictError
from schemas.pipeline import load_pipeline
from spark_jobs.storage.creation import create_missing
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import PIPELINE

ROWS = 3
PATIENCE = 60.0  # seconds that one run waits for the other

fresh_number = count()
either_table = pytest.mark.parametrize("name", ["holdout", "refreshes"])  # partitioned, and not


@pytest.fixture(scope="module")
def warehouse(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Empty tables."""
    made = Warehouse(str(tmp_path_factory.mktemp("overlapping")), load_pipeline(PIPELINE))
    create_missing(made)
    return made


@pytest.fixture
def refresh_id() -> str:
    """A refresh that no other test writes."""
    return f"flights-{next(fresh_number)}"


def rows(warehouse: Warehouse, name: str, refresh_id: str) -> DataFrame:
    """`ROWS` rows of a refresh."""
    day = F.lit("2013-02-14")
    kinds = {"string": F.lit(refresh_id), "date": day, "timestamp": day, "array": F.array(day)}
    json = {"input_versions": "{}", "files": "[]", "holdout_files": "[]", "report": "{}"}
    texts = {
        name: F.lit(text) for name, text in (json | {"decided": "null", "ledger": "null"}).items()
    }
    values = [
        texts.get(field.name, kinds.get(field.dataType.typeName(), F.lit(1)))
        .cast(field.dataType)
        .alias(field.name)
        for field in T.StructType.fromDDL(warehouse.tables[name].spark_ddl)
    ]
    return warehouse.spark.range(ROWS).select(*values)


def written(warehouse: Warehouse, name: str, refresh_id: str) -> int:
    return warehouse.read(name).where(F.col("refresh_id") == refresh_id).count()


def overtaken(
    slow: Callable[[DataFrame], int], frame: DataFrame, fast: Callable[[], int], folder: Path
) -> None:
    """`slow(frame)`, whose transaction begins before `fast()` and would commit after it."""
    begun, go_on, patience = folder / "begun", folder / "go on", PATIENCE

    def wait(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begun.touch()
        deadline = time.monotonic() + patience
        while not go_on.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield from batches

    with ThreadPoolExecutor(max_workers=1) as pool:
        run = pool.submit(slow, frame.coalesce(1).mapInArrow(wait, frame.schema))
        while not (begun.exists() or run.done()):
            time.sleep(0.02)
        try:
            fast()
        finally:
            go_on.touch()
        run.result(PATIENCE)


class Overtaken(Warehouse):
    """Another run writes the same refresh after this one has looked for it and found nothing."""

    def has_refresh(self, name: str, refresh_id: str, version: int | None = None) -> bool:
        found = super().has_refresh(name, refresh_id, version)
        other = Warehouse(self.root, self.pipeline)
        other.replace_refresh(rows(other, name, refresh_id), name, refresh_id)
        return found


@either_table
def test_of_two_first_runs_of_a_refresh_one_is_refused(warehouse, name, refresh_id, tmp_path):
    def replace(frame: DataFrame) -> int:
        return warehouse.replace_refresh(frame, name, refresh_id)

    frame = rows(warehouse, name, refresh_id)
    with pytest.raises(ConflictError, match=rf"table {name}, refresh {refresh_id}: .*Remedy: "):
        overtaken(replace, frame, lambda: replace(frame), tmp_path)
    assert written(warehouse, name, refresh_id) == ROWS
    replace(frame)  # the remedy: repeat the command
    assert written(warehouse, name, refresh_id) == ROWS


@either_table
def test_a_first_run_that_was_overtaken_before_its_write_is_refused(warehouse, name, refresh_id):
    late = Overtaken(warehouse.root, warehouse.pipeline)
    with pytest.raises(ConflictError, match=rf"table {name}, refresh {refresh_id}: .*Remedy: "):
        late.replace_refresh(rows(warehouse, name, refresh_id), name, refresh_id)
    assert written(warehouse, name, refresh_id) == ROWS


@either_table
def test_of_two_forced_runs_of_a_refresh_one_is_refused(warehouse, name, refresh_id, tmp_path):
    def replace(frame: DataFrame) -> int:
        return warehouse.replace_refresh(frame, name, refresh_id)

    frame = rows(warehouse, name, refresh_id)
    replace(frame)
    with pytest.raises(ConflictError, match="Remedy: "):
        overtaken(replace, frame, lambda: replace(frame), tmp_path)
    assert written(warehouse, name, refresh_id) == ROWS


@either_table
def test_runs_of_two_refreshes_do_not_disturb_each_other(warehouse, name, refresh_id, tmp_path):
    def replace(frame: DataFrame, of: str) -> int:
        return warehouse.replace_refresh(frame, name, of)

    other = f"{refresh_id}-other"
    first, second = rows(warehouse, name, refresh_id), rows(warehouse, name, other)
    overtaken(lambda f: replace(f, refresh_id), first, lambda: replace(second, other), tmp_path)
    assert [written(warehouse, name, of) for of in (refresh_id, other)] == [ROWS, ROWS]


def test_of_two_appends_of_one_transaction_one_is_refused(warehouse, refresh_id, tmp_path):
    def append(frame: DataFrame) -> int:
        return warehouse.append_once(frame, "holdout", refresh_id)

    frame = rows(warehouse, "holdout", refresh_id)
    with pytest.raises(ConflictError, match=f"transaction {refresh_id}: .*Remedy: "):
        overtaken(append, frame, lambda: append(frame), tmp_path)
    assert written(warehouse, "holdout", refresh_id) == ROWS
    version = warehouse.version("holdout")
    assert append(frame) == version == warehouse.version("holdout")


def test_a_transaction_outlives_the_log_of_its_commit(warehouse, refresh_id, monkeypatch):
    frame = rows(warehouse, "holdout", refresh_id)
    warehouse.append_once(frame, "holdout", refresh_id)
    monkeypatch.setattr("spark_jobs.storage.warehouse.Snapshot.history", lambda *_: [])
    newest = warehouse.version("holdout")
    assert warehouse.committed("holdout", refresh_id) == newest
    assert warehouse.append_once(frame, "holdout", refresh_id) == newest
    assert written(warehouse, "holdout", refresh_id) == ROWS
