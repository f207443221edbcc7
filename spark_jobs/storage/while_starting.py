"""What takes seconds as Spark takes to start: both at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from spark_jobs.storage.small_data import starts_session
from spark_jobs.storage.warehouse import Warehouse

T = TypeVar("T")


def while_starting(warehouse: Warehouse, ask: Callable[[], T]) -> T:
    """What `ask` answers, asked beside the start of the warehouse's session where it has still to
    be started. Raises what either raises."""
    if not starts_session():
        return ask()
    with ThreadPoolExecutor(max_workers=1) as beside:
        answer = beside.submit(copy_context().run, ask)
        _ = warehouse.spark
        return answer.result()
