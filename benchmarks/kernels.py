"""The kernels alone, on one core: the cube against R's samplecube, mean matching against a MIP.

python -m benchmarks.kernels
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs.flight import flight
from spark_jobs.selection.designs.mean_match import swap_to_mean

RUNS = 5
BLOCK = 1 << 15

R_SCRIPT = """
suppressMessages(library(sampling))
x <- as.matrix(read.csv("{columns}", header = FALSE))
pi <- scan("{pi}", quiet = TRUE)
begin <- proc.time()
invisible(samplecube(x, pi, order = 2, comment = FALSE, method = 1))
took <- proc.time() - begin
cat(took[["user.self"]] + took[["sys.self"]])
"""


def seconds(call: Callable[[], object]) -> list[float]:
    """Wall times of `RUNS` calls, after one that is not counted."""
    call()
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def balanced(n: int) -> tuple[Array, Array]:
    """Probabilities (n,) and five balancing columns (n, 5), the first one pi itself."""
    random = np.random.default_rng(1)
    pi = np.clip(random.beta(1, 3, n) * 0.4, 0.01, 1.0)
    pi *= round(0.1 * n) / pi.sum()
    return pi, np.column_stack([pi, np.ones(n), random.normal(size=(n, 3))])


def cube() -> None:
    """Rows a second, and R on 100,000 rows in the same run where R is there."""
    n = 1_000_000
    pi, columns = balanced(n)
    expanded = np.ascontiguousarray(columns / pi[:, None])
    blocks = [np.arange(low, min(low + BLOCK, n)) for low in range(0, n, BLOCK)]

    def ours(count: int) -> None:
        phi = pi.copy()
        for seed, rows in enumerate(blocks):
            if rows[0] < count:
                flight(phi, expanded, rows[rows < count], seed)

    times = seconds(lambda: ours(n))
    print(_rate("cube, flight, 5 columns", n, times))
    small = seconds(lambda: ours(100_000))
    print(f"  100,000 rows: {statistics.median(small):.4f} s {_spread(small)}")
    theirs = _r_seconds(100_000)
    if theirs is None:
        print("  R's samplecube: R or its package sampling is not installed")
    else:
        ratio = theirs / statistics.median(small)
        print(f"  R's samplecube, 100,000 rows: {theirs:.1f} s of CPU, {ratio:,.0f} times as long")


def _r_seconds(n: int) -> float | None:
    if shutil.which("Rscript") is None:
        return None
    pi, columns = balanced(n)
    with tempfile.TemporaryDirectory() as folder:
        place = {"columns": f"{folder}/columns.csv", "pi": f"{folder}/pi.txt"}
        np.savetxt(place["columns"], columns, delimiter=",")
        np.savetxt(place["pi"], pi)
        script = Path(folder) / "cube.R"
        script.write_text(R_SCRIPT.format(**place), encoding="utf-8")
        done = subprocess.run(["Rscript", script], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else None


def mean_match() -> None:
    """Rows a second at groups of 1,000; gap and time beside the exact optimum of a MIP."""
    random = np.random.default_rng(2)
    loss = random.lognormal(size=(200, 1000))
    stratum = np.zeros(1000, np.int64)
    start = np.zeros(1000, bool)
    start[:100] = True

    def matched(group: int) -> Array:
        drawn = start.copy()
        swap_to_mean(loss[group], stratum, drawn, np.uint64(group))
        return drawn

    times = seconds(lambda: [matched(group) for group in range(200)])
    print(_rate("mean-match, groups of 1,000", 200_000, times))
    ours, theirs, spent = [], [], []
    for group in range(5):
        ours.append(_gap(loss[group], matched(group)))
        began = time.perf_counter()
        theirs.append(_gap(loss[group], _mip(loss[group], 100)))
        spent.append(time.perf_counter() - began)
    each = statistics.median(times) / 200
    print(
        f"  relative gap {np.median(ours):.1e} in {each * 1e3:.2f} ms a group; HiGHS (10 s at most)"
        f" {np.median(theirs):.1e} in {np.median(spent):.1f} s"
    )


def _mip(loss: Array, k: int) -> Array:
    """Minimise |sum of drawn losses - k mean| over sets of k: two sides of one slack."""
    n = loss.size
    cost = np.concatenate([np.zeros(n), [1.0]])
    ones = np.concatenate([np.ones(n), [0.0]])
    above, below = np.concatenate([loss, [-1.0]]), np.concatenate([loss, [1.0]])
    wanted = k * loss.mean()
    rules = [
        LinearConstraint(ones, k, k),
        LinearConstraint(above, -np.inf, wanted),
        LinearConstraint(below, wanted, np.inf),
    ]
    whole = np.concatenate([np.ones(n), [0.0]])
    limits = Bounds(np.zeros(n + 1), np.concatenate([np.ones(n), [np.inf]]))
    found = milp(
        cost, constraints=rules, integrality=whole, bounds=limits, options={"time_limit": 10}
    )
    return np.rint(found.x[:n]).astype(bool)


def _gap(loss: Array, drawn: Array) -> float:
    return abs(float(loss[drawn].mean() / loss.mean()) - 1.0)


def _rate(name: str, rows: int, times: list[float]) -> str:
    rate = rows / statistics.median(times) / 1e6
    return f"{name}: {rate:.2f} M rows/s, {statistics.median(times):.3f} s {_spread(times)}"


def _spread(times: list[float]) -> str:
    return f"[{min(times):.4f}, {max(times):.4f}]"


def main() -> None:
    """Print every kernel's lines."""
    print(f"one core, {RUNS} runs each, medians and spreads")
    cube()
    mean_match()


if __name__ == "__main__":
    main()
