"""Petastorm's batch reader over a list of local files, on any pyarrow and NumPy.

Petastorm 0.12.1 finds row groups, schema and rows through classes that pyarrow 15 dropped, names
two types that NumPy 2 dropped, and imports modules for HDFS that neither pyarrow 16 nor Python 3.12
can give. Of all that, a list of local Parquet files needs four calls. They stand here; everything
else of the reader (handing out row groups, its pool, its queue) is Petastorm's own.

A side effect is wanted: a file `_common_metadata`, whose pickle Petastorm would load, is not looked
for.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.extras import require_petastorm

# What Petastorm imports and a list of local files never uses: the module, and names in it.
_NEVER_USED = {
    "pyarrow.filesystem": ("LocalFileSystem",),
    "petastorm.hdfs.namenode": ("HdfsConnector", "HdfsNamenodeResolver"),
}


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Empty modules in place of those never used, while Petastorm is imported."""
    absent = [name for name in _NEVER_USED if name not in sys.modules]
    for name in absent:
        module = ModuleType(name)
        for item in _NEVER_USED[name]:
            setattr(module, item, None)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


require_petastorm()
with _stand_ins():
    from petastorm import arrow_reader_worker, reader, unischema
    from petastorm import workers_pool as workers_pool  # for petastorm_pool
    from petastorm.etl import dataset_metadata


@dataclass(frozen=True)
class RowGroup:
    """A row group of a file, or the file; what pyarrow's `ParquetDatasetPiece` was."""

    path: str
    row_group: int | None = None
    partition_keys: tuple[()] = ()
    open_file_func: Any = None  # given, not needed

    def get_metadata(self) -> pq.FileMetaData:
        """The footer of the file."""
        return pq.read_metadata(self.path)

    def read(self, columns: set[str], partitions: None) -> pa.Table:
        """These columns of the row group, in the order of their names."""
        # Opened here: pyarrow would look for a file system behind the name.
        with pa.OSFile(self.path) as stored, pq.ParquetFile(stored) as file:
            return file.read_row_group(self.row_group, columns=sorted(columns))


class ListedFiles:
    """The files of a read; what Petastorm used of pyarrow's older `ParquetDataset`."""

    metadata = common_metadata = partitions = None
    fs = SimpleNamespace(open=lambda path: path)

    def __init__(self, paths: Sequence[str], **_: Any) -> None:
        self.paths = paths
        self.pieces = [RowGroup(path) for path in paths]


def make_batch_reader(urls: Sequence[str], **settings: Any) -> Any:
    """Petastorm's function of this name, for lists of `file://` places."""
    return reader.make_batch_reader(list(urls), filesystem=ListedFiles.fs, **settings)


_parquet = SimpleNamespace(ParquetDataset=ListedFiles, ParquetDatasetPiece=RowGroup)
for _module in (arrow_reader_worker, reader, dataset_metadata):
    _module.pq = _parquet
arrow_reader_worker.ParquetFile = lambda path: path  # a piece opens its own
unischema.np = SimpleNamespace(**{**vars(np), "unicode_": np.str_, "string_": np.bytes_})
