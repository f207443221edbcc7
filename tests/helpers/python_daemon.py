"""Spark's daemon of Python workers, which forks them with the imports of our jobs already done.

A worker that Spark's own daemon forks imports them by itself: 8 s of a core for one that scores, in
every worker, and again whenever one was idle for a minute. `make test` names this module to Spark.

After each task a worker collects garbage, for which Python goes through all that these imports have
made: 0.3 s of a core. Frozen, they are passed over.
"""

import gc
from importlib import import_module

from pyspark.daemon import manager

IMPORTED = (
    "spark_jobs.score",
    "spark_jobs.blocks.spark_blocks",
    "torch.export.pt2_archive._package",  # this and the next: what torch.export.load imports
    "networkx",
)

if __name__ == "__main__":
    for name in IMPORTED:
        import_module(name)
    gc.freeze()
    manager()
