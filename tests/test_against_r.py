"""The same problems in R: package `sampling` by Tille and Matei, on CRAN."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spark_jobs.selection.designs.systematic import ONE
from spark_jobs.selection.hashing import hash_step
from spark_jobs.selection.policy import Policy
from tests.helpers.dense import problem, solved, truncated
from tests.helpers.drawing import PROBABILITIES, drawn_by, population


def has_sampling() -> bool:
    """Whether R and the package are there."""
    if shutil.which("Rscript") is None:
        return False
    return (
        subprocess.run(["Rscript", "-e", "library(sampling)"], capture_output=True).returncode == 0
    )


@pytest.fixture(scope="module", autouse=True)
def _r() -> None:
    if not has_sampling():
        pytest.skip("Rscript or its package sampling is not installed")


pytestmark = pytest.mark.r


def run_r(folder: Path, script: str, **inputs: np.ndarray) -> np.ndarray:
    """Run R on matrices under their names; it leaves its answer in `out`."""
    lines = ["library(sampling)"]
    for name, values in inputs.items():
        np.savetxt(folder / f"{name}.txt", values, fmt="%.17g")
        lines.append(f"{name} <- as.matrix(read.table('{folder}/{name}.txt'))")
    answer = folder / "out.txt"
    lines += [script, f"write.table(format(out, digits=17), '{answer}', quote=F, row.names=F,"]
    lines[-1] += " col.names=F)"
    done = subprocess.run(["Rscript", "-e", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.loadtxt(answer)


@pytest.mark.parametrize(("low", "high", "binding"), [(0.1, 4.0, False), (0.65, 1.4, True)])
def test_calibrated_weights_are_those_of_calib(tmp_path, low, high, binding):
    a, weight, target = problem(1, shift=0.2)
    script = f"""out <- calib(a, d=c(weight), total=c(total), method='truncated',
        bounds=c(low={low}, upp={high}), max_iter=500)"""
    g = run_r(tmp_path, script, a=a, weight=weight, total=target * 200)
    found = solved(a, weight, target, Policy("p", ridge=0.0, bounds=(low, high)), 200)
    ours = truncated(a, found.coefficients, (low, high))
    assert np.isclose(ours, [[low], [high]]).any() == binding
    np.testing.assert_allclose(ours, g, atol=1e-6)


@pytest.mark.parametrize("kind", list(PROBABILITIES))
def test_systematic_draws_are_those_of_up_systematic(tmp_path, kind):
    """R draws where the sum less its start passes a whole number, so its start is 1 less ours."""
    rows = population(PROBABILITIES[kind])
    seeds = range(1, 31)
    orders = np.array([rows.blocks(seed, 0)[0] for seed in seeds])
    starts = np.array([1 - hash_step(seed, 0) % ONE / ONE for seed in seeds])
    script = """out <- t(sapply(seq_len(nrow(pi)), function(i) {
        f <- UPsystematic
        environment(f) <- list2env(list(runif=function(...) start[i]), parent=environment(f))
        f(pi[i, ])
    }))"""
    theirs = run_r(tmp_path, script, pi=rows.probability[orders], start=starts)
    for seed, order, expected in zip(seeds, orders, theirs, strict=True):
        ours = drawn_by("systematic", rows, seed)[order]
        np.testing.assert_array_equal(ours, expected > 0.5)


def test_the_cube_keeps_totals_as_well_as_samplecube(tmp_path):
    """The spread of the expanded totals over 60 draws; samplecube lands by linear programming."""
    size = np.random.default_rng(8).lognormal(sigma=0.5, size=300)
    rows = population(size * 60 / size.sum())
    pi = rows.probability
    x = np.column_stack([np.ones(300), rows.residual[:, 0], rows.loss, rows.label])
    script = """set.seed(1)
        out <- t(replicate(60, samplecube(cbind(pi, x), c(pi), order=1, comment=FALSE)))"""
    theirs = run_r(tmp_path, script, pi=pi, x=x)
    ours = np.array([drawn_by("cube", rows, seed, bits=0) for seed in range(1, 61)])
    assert (ours.sum(axis=1) == 60).all()
    gaps = [draws @ (x / pi[:, None]) - x.sum(axis=0) for draws in (ours, theirs)]
    spread = [np.sqrt((gap**2).mean(axis=0)) for gap in gaps]
    np.testing.assert_array_less(spread[0], 1.5 * spread[1])
