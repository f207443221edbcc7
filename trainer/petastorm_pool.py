"""Mends Petastorm's thread pool, which may end a read early without an error.

`ThreadPool.get_results` asks "is all handed-out work done?" before "has everything been handed
out?". When the feeding thread finishes between the two, both answers are yes although nothing
has been read. Asked in the other order they cannot both be wrong: once feeding is complete the
count of handed-out items is final, and each worker publishes an item's rows before its "done".
"""

from queue import Empty
from typing import Any

from petastorm.workers_pool import EmptyResultError, VentilatedItemProcessedMessage

_LOOK_AGAIN_S = 0.1


def end_only_when_done(reader: Any) -> None:
    """Make a `make_batch_reader` reader of the thread pool test completion first. In place."""
    pool = reader._workers_pool
    pool.get_results = lambda: _get_results(pool)


def _get_results(pool: Any) -> Any:
    """The next row group as an Arrow table; EmptyResultError after the last, else what failed.

    Reads the fields of the pool of 0.12.1; the pin, and the test that slows it, keep them valid.
    """
    while True:
        fed = pool._ventilator.completed()
        if fed and pool._ventilated_items == pool._ventilated_items_processed:
            raise EmptyResultError()
        try:
            result = pool._results_queue.get(timeout=_LOOK_AGAIN_S)
        except Empty:
            continue
        if isinstance(result, VentilatedItemProcessedMessage):
            pool._ventilated_items_processed += 1
            pool._ventilator.processed_item()
        elif isinstance(result, Exception):
            pool.stop()
            pool.join()
            raise result
        else:
            return result
