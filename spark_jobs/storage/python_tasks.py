"""A function over the Arrow batches of a DataFrame, as tasks of Spark's Python workers.

A worker serves many tasks. After each it collects garbage among all that was ever imported, and
before each it has Python forget what it knew of the archives on its path, `pyspark.zip` among
them, which Python 3.10 and 3.11 then read anew at once (github.com/python/cpython/issues/103200).
That is a tenth of a second of CPU a task whatever the task does, and a refresh runs hundreds.
"""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from zipimport import zipimporter

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import types as T

Batches = Iterable[pa.RecordBatch]
Run = Callable[[Batches], Iterator[pa.RecordBatch]]

_frozen_modules = 0  # how many modules this worker had when its objects were last frozen


def over_batches(rows: DataFrame, run: Run, schema: str | T.StructType) -> DataFrame:
    """`rows.mapInArrow(run, schema)`, whose tasks leave their worker fit for the next one."""
    return rows.mapInArrow(partial(_then_ready, run=run), schema)


def _then_ready(batches: Batches, *, run: Run) -> Iterator[pa.RecordBatch]:
    forget_archives()
    freeze_imported()
    return run(batches)


def forget_archives() -> None:
    """Drop the finders of archives: those asked for again are made from what is known of them."""
    for path, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, zipimporter):
            del sys.path_importer_cache[path]


def freeze_imported() -> None:
    """Keep the collector from looking through what has been imported, which stays anyway."""
    global _frozen_modules
    if len(sys.modules) > _frozen_modules:
        gc.freeze()
        _frozen_modules = len(sys.modules)
