"""What `draw` costs without Spark: each policy against `random() < k / N`, in one run, one process.

Records are real flights resampled, with two segment keys and a sketch of 16 numbers. The baseline
draws from the same Arrow table and keeps two columns.

    python -m benchmarks.draw
"""

import statistics

import numpy as np
import pyarrow as pa

from benchmarks.kernels import RUNS, seconds
from benchmarks.logged_flights import records
from spark_jobs.selection import draw
from spark_jobs.selection.policies import POLICIES

ROWS, BUDGET = 500_000, 0.1


def bernoulli(table: pa.Table) -> pa.Table:
    """The baseline: keep each row with probability k / N, no record looked at."""
    drawn = np.random.default_rng(1).random(table.num_rows) < BUDGET
    return table.select(["instance_id", "label"]).filter(pa.array(drawn))


def main() -> None:
    """Print a table: median and spread in seconds, and the ratio to the policy `uniform`."""
    table = records(ROWS)
    base = seconds(lambda: bernoulli(table))
    print(f"{ROWS:,} records, budget {BUDGET}, {RUNS} runs each, one process")
    spread = f"[{min(base):.3f}, {max(base):.3f}]"
    print(f"{'random() < k/N':<22} {statistics.median(base):7.3f} s  {spread}")
    middles: dict[str, float] = {}
    for policy in ["uniform", *(name for name in POLICIES if name != "uniform")]:
        times = seconds(lambda policy=policy: draw(table, policy=policy, budget=BUDGET, seed=7))  # type: ignore[misc]
        middles[policy] = statistics.median(times)
        spread = f"[{min(times):.3f}, {max(times):.3f}]"
        ratio = middles[policy] / middles["uniform"]
        print(f"{policy:<22} {middles[policy]:7.3f} s  {spread}  {ratio:6.1f} x uniform")


if __name__ == "__main__":
    main()
