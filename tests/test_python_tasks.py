"""A task of Spark's Python workers leaves its worker fit for the next one."""

import gc
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipimport import zipimporter

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from spark_jobs.storage.python_tasks import Run, forget_archives, over_batches
from tests.helpers.sources import ROOT, files

FORM = "pid BIGINT, archives BIGINT, frozen BIGINT, rows BIGINT"


def looking() -> Run:
    """A function that tells what a task finds in its worker; made here, so sent as it is."""

    def looked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        finders = list(sys.path_importer_cache.values())
        found = {
            "pid": os.getpid(),
            "archives": sum(isinstance(one, zipimporter) for one in finders),
            "frozen": gc.get_freeze_count(),
            "rows": sum(batch.num_rows for batch in batches),
        }
        yield pa.RecordBatch.from_pylist([found])

    return looked


def test_a_worker_that_has_run_a_task_knows_no_archive_and_collects_no_import(
    spark: SparkSession,
) -> None:
    """Looked at by a function that Spark itself runs, in the workers of the task before."""
    rows = spark.range(0, 400, 1, 4)
    first = over_batches(rows, looking(), FORM).collect()
    assert sum(row["rows"] for row in first) == 400
    served = {row["pid"] for row in first}
    after = [row for row in rows.mapInArrow(looking(), FORM).collect() if row["pid"] in served]
    assert after, "Spark has taken none of its workers again"
    assert {row["archives"] for row in after} == {0}
    assert min(row["frozen"] for row in after) > 10_000


def test_modules_of_an_archive_are_found_after_it_was_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "modules.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("tenforward_before.py", "VALUE = 1")
        file.writestr("tenforward_after.py", "VALUE = 2")
    monkeypatch.syspath_prepend(str(archive))
    assert __import__("tenforward_before").VALUE == 1
    assert isinstance(sys.path_importer_cache[str(archive)], zipimporter)
    forget_archives()
    assert str(archive) not in sys.path_importer_cache
    assert __import__("tenforward_after").VALUE == 2


def test_no_job_hands_batches_to_python_by_another_way() -> None:
    asking = {file for file in files("spark_jobs") if ".mapInArrow(" in (ROOT / file).read_text()}
    assert asking == {"spark_jobs/storage/python_tasks.py"}
