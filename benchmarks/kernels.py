"""The kernels alone, on one core: the cube against R's samplecube, mean matching against a MIP.

python -m benchmarks.kernels
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from benchmarks.cost import seconds
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


def balanced(n: int) -> tuple[Array, Array]:
    """Probabilities (n,) and five balancing columns (n, 5), the first one pi itself."""
    random = np.random.default_rng(1)
    pi = np.clip(random.beta(1, 3, n) * 0.4, 0.01, 1.0)
    pi *= round(0.1 * n) / pi.sum()
    return pi, np.column_stack([pi, np.ones(n), random.normal(size=(n, 3))])


def expanded(n: int) -> tuple[Array, Array]:
    """The same probabilities, and the columns over them, as the flight takes them."""
    pi, columns = balanced(n)
    return pi, np.ascontiguousarray(columns / pi[:, None])


def flown(pi: Array, columns: Array, count: int) -> None:
    """The flight of the first so many rows, a block at a time."""
    phi = pi.copy()
    for seed, low in enumerate(range(0, count, BLOCK)):
        flight(phi, columns, np.arange(low, min(low + BLOCK, count)), seed)


def cube() -> None:
    """Rows a second, and R on 100,000 rows in the same run where R is there."""
    n = 1_000_000
    pi, columns = expanded(n)
    times = seconds(partial(flown, pi, columns, n), repeats=RUNS)
    print(_rate("cube, flight, 5 columns", n, times))
    small = seconds(partial(flown, pi, columns, 100_000), repeats=RUNS)
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


class Groups(NamedTuple):
    """Losses (groups, rows); of each group one stratum (rows,) and the rows drawn first (rows,)."""

    loss: Array
    stratum: Array
    start: Array


def groups(count: int) -> Groups:
    """So many groups of 1,000 rows."""
    loss = np.random.default_rng(2).lognormal(size=(count, 1000))
    return Groups(loss, np.zeros(1000, np.int64), np.arange(1000) < 100)


def matched(given: Groups, group: int) -> Array:
    """The rows drawn of a group once it is matched."""
    drawn = given.start.copy()
    swap_to_mean(given.loss[group], given.stratum, drawn, np.uint64(group))
    return drawn


def all_matched(given: Groups) -> None:
    """Every group."""
    for group in range(len(given.loss)):
        matched(given, group)


def mean_match() -> None:
    """Rows a second at groups of 1,000; gap and time beside the exact optimum of a MIP."""
    given = groups(200)
    loss = given.loss
    times = seconds(partial(all_matched, given), repeats=RUNS)
    print(_rate("mean-match, groups of 1,000", 200_000, times))
    ours, theirs, spent = [], [], []
    for group in range(5):
        ours.append(_gap(loss[group], matched(given, group)))
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
