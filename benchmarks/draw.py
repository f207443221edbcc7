"""What choosing costs: each policy's `draw` against `random() < k/N`, in one run, one process.

Records: 500,000 binary ones with two segment keys and a sketch of 16 numbers, generated. The
baseline draws from the same Arrow table and keeps the same columns.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from spark_jobs.selection import draw
from spark_jobs.selection.policies import POLICIES
from spark_jobs.selection.tasks import sigmoid

ROWS, RUNS, BUDGET = 500_000, 5, 0.1


def records(n: int = ROWS) -> pa.Table:
    """n records of a model that is a little wrong."""
    random = np.random.default_rng(1)
    sketch = random.normal(size=(n, 16)).astype(np.float32)
    logit = sketch @ random.normal(size=16) * 0.3 - 1.2
    label = (random.random(n) < sigmoid(1.2 * logit + 0.3)).astype(np.float64)
    keys = np.array(["a", "b", "c", "d"])[random.integers(0, 4, (n, 2))]
    return pa.table(
        {
            "instance_id": [f"row-{i}" for i in range(n)],
            "prediction": logit,
            "label": label,
            "segments": pa.array(list(keys), pa.list_(pa.string())),
            "sketch": pa.array(list(sketch), pa.list_(pa.float32())),
        }
    )


def bernoulli(table: pa.Table) -> pa.Table:
    """The baseline: keep each row with probability k/N, no record looked at."""
    drawn = np.random.default_rng(1).random(table.num_rows) < BUDGET
    return table.select(["instance_id", "label"]).filter(pa.array(drawn))


def seconds(call: Callable[[], object]) -> list[float]:
    """Wall times of `RUNS` calls, after one that is not counted."""
    call()
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def main() -> None:
    """Print a table: median and spread in seconds, and the ratio to the baseline's median."""
    table = records()
    base = seconds(lambda: bernoulli(table))
    floor = statistics.median(base)
    print(f"{ROWS:,} records, budget {BUDGET}, {RUNS} runs each, one process")
    print(f"{'random() < k/N':<16} {floor:7.3f} s  [{min(base):.3f}, {max(base):.3f}]")
    for policy in POLICIES:
        times = seconds(lambda policy=policy: draw(table, policy=policy, budget=BUDGET, seed=7))  # type: ignore[misc]
        middle = statistics.median(times)
        spread = f"[{min(times):.3f}, {max(times):.3f}]"
        print(f"{policy:<16} {middle:7.3f} s  {spread}  {middle / floor:6.1f} x")


if __name__ == "__main__":
    main()
