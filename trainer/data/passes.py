"""One pass over Parquet files, by the name of the reader that makes it: `training.reader`."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainer.data.arrays import array_of

Columns = Mapping[str, NDArray[Any]]
Batches = Iterable[Columns]
Pass = Callable[[Sequence[Path], Sequence[str]], Batches]


def petastorm_pass(paths: Sequence[Path], names: Sequence[str]) -> Batches:
    """One pass over the files by one Petastorm reader, a batch a row group, in file order.

    One worker and no shuffling is the setting measured whole; a reader is used for one pass only.
    """
    from trainer.data.petastorm_files import make_batch_reader
    from trainer.data.petastorm_pool import end_only_when_done, give_arrays

    with make_batch_reader(
        [f"file://{path}" for path in paths],
        # One pattern, which Petastorm tries on every column; of many it tries each on each.
        schema_fields=[f"^({'|'.join(map(re.escape, names))})$"],
        reader_pool_type="thread",
        workers_count=1,
        shuffle_row_groups=False,
        num_epochs=1,
    ) as reader:
        end_only_when_done(reader)
        give_arrays(reader)
        return list(reader)


def arrow_pass(paths: Sequence[Path], names: Sequence[str]) -> Batches:
    """The same by pyarrow alone: the same batches, bit for bit."""
    return list(_row_groups(paths, names))


def _row_groups(paths: Sequence[Path], names: Sequence[str]) -> Iterator[Columns]:
    for path in paths:
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                table = file.read_row_group(number, columns=list(names))
                yield {name: array_of(name, table[name]) for name in table.column_names}


PASSES: dict[str, Pass] = {"petastorm": petastorm_pass, "arrow": arrow_pass}
