"""Choosing training rows from logged forward passes: pure functions over NumPy arrays.

Nothing here imports Spark or torch. `draw` is the whole of it on an Arrow table;
`spark_jobs/select_sample.py` runs the same kernels, block by block, on a cluster.
"""

from spark_jobs.selection.draw import draw

__all__ = ["draw"]
