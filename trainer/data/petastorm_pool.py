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

from numpy.typing import NDArray

from trainer.data.arrays import array_of
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
    return {name: array_of(name, table[name]) for name in table.column_names}


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
