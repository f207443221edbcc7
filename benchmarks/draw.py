"""What `draw` costs without Spark: each policy against `random() < k / N`, in one run, one process.

Records are real flights resampled, with two segment keys and a sketch of 16 numbers. The baseline
draws from the same Arrow table and keeps two columns.

    python -m benchmarks.draw
"""

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from benchmarks.cost import seconds
from benchmarks.logged_flights import records
from spark_jobs.selection import draw
from spark_jobs.selection.policies import POLICIES

ROWS, RUNS, BUDGET = 500_000, 5, 0.1


def bernoulli(table: pa.Table) -> pa.Table:
    """The baseline: keep each row with probability k / N, no record looked at."""
    drawn = np.random.default_rng(1).random(table.num_rows) < BUDGET
    return table.select(["instance_id", "label"]).filter(pa.array(drawn))


def drawn(policy: str, table: pa.Table) -> pa.Table:
    """What a policy selects."""
    return draw(table, policy=policy, budget=BUDGET, seed=7)


JOBS: dict[str, Callable[[pa.Table], pa.Table]] = {
    policy: partial(drawn, policy)
    for policy in ["uniform", *(name for name in POLICIES if name != "uniform")]
}


def main() -> None:
    """Print a table: median and spread in seconds, and the ratio to the policy `uniform`."""
    table = records(ROWS)
    base = seconds(partial(bernoulli, table), repeats=RUNS)
    print(f"{ROWS:,} records, budget {BUDGET}, {RUNS} runs each, one process")
    spread = f"[{min(base):.3f}, {max(base):.3f}]"
    print(f"{'random() < k/N':<22} {statistics.median(base):7.3f} s  {spread}")
    middles: dict[str, float] = {}
    for policy, job in JOBS.items():
        times = seconds(partial(job, table), repeats=RUNS)
        middles[policy] = statistics.median(times)
        spread = f"[{min(times):.3f}, {max(times):.3f}]"
        ratio = middles[policy] / middles["uniform"]
        print(f"{policy:<22} {middles[policy]:7.3f} s  {spread}  {ratio:6.1f} x uniform")


if __name__ == "__main__":
    main()
