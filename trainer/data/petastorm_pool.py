"""What comes out of Petastorm's thread pool: all of it, and as cheaply as pyarrow gives it.

The pool may end a read early without an error. `ThreadPool.get_results` asks "is all handed-out
work done?" before "has everything been handed out?". When the feeding thread finishes between the
two, both answers are yes although nothing has been read. Asked in the other order they cannot both
be wrong: once feeding is complete the count of handed-out items is final, and each worker publishes
an item's rows before its "done".

A reader makes a pandas series of every column, and a Python object of every row that holds an
array, while no other reader can do so. Both are left out.
"""

from queue import Empty
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import DataQualityError
from trainer.data.petastorm_files import workers_pool

_LOOK_AGAIN_S = 0.1


def end_only_when_done(reader: Any) -> None:
    """Make a `make_batch_reader` reader of the thread pool test completion first. In place."""
    pool = reader._workers_pool
    pool.get_results = lambda: _get_results(pool)


def give_arrays(reader: Any) -> None:
    """Make such a reader give a row group as NumPy arrays by column: (n,), of arrays (n, numbers).
    In place."""
    reader._results_queue_reader.read_next = _read_next


def _read_next(pool: Any, schema: Any, ngram: Any) -> dict[str, NDArray[Any]]:
    try:
        table = pool.get_results()
    except workers_pool.EmptyResultError as end:
        raise StopIteration from end
    return {name: _array(name, table[name]) for name in table.column_names}


def _array(name: str, column: pa.ChunkedArray) -> NDArray[Any]:
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if not pa.types.is_list(whole.type):
        return whole.to_numpy(zero_copy_only=False)
    lengths = np.diff(whole.offsets.to_numpy())
    if whole.null_count or np.any(lengths != lengths[:1]):
        raise DataQualityError(
            f"column {name}: {whole.null_count} rows without an array, the others of"
            f" {lengths.min()} to {lengths.max()} numbers; a tensor has the same in every row."
            " Remedy: correct the source, and select again with --rebuild."
        )
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), -1)


def _get_results(pool: Any) -> Any:
    """The next row group as an Arrow table; EmptyResultError after the last, else what failed.

    Reads the fields of the pool of 0.12.1; the pin, and the test that slows it, keep them valid.
    """
    while True:
        fed = pool._ventilator.completed()
        if fed and pool._ventilated_items == pool._ventilated_items_processed:
            raise workers_pool.EmptyResultError()
        try:
            result = pool._results_queue.get(timeout=_LOOK_AGAIN_S)
        except Empty:
            continue
        if isinstance(result, workers_pool.VentilatedItemProcessedMessage):
            pool._ventilated_items_processed += 1
            pool._ventilator.processed_item()
        elif isinstance(result, Exception):
            pool.stop()
            pool.join()
            raise result
        else:
            return result
