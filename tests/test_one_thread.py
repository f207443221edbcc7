"""Inside `one_thread`, linear algebra uses one thread, and afterwards as many as before."""

import numpy as np  # noqa: F401  (brings the BLAS that is asked about)
from threadpoolctl import threadpool_info, threadpool_limits

from spark_jobs.selection.one_thread import one_thread


def threads() -> set[int]:
    """Of every BLAS that is loaded."""
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_blas_has_one_thread_for_a_while():
    with threadpool_limits(limits=2, user_api="blas"):
        assert threads() == {2}
        for _ in range(2):  # what is found the first time is kept
            with one_thread():
                assert threads() == {1}
            assert threads() == {2}
