"""Rows are drawn as often as their probabilities say, for each score in each exact design."""

import numpy as np
import pytest

from spark_jobs.selection import draw
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.scores import SCORES
from tests.helpers.drawing import misses, population
from tests.helpers.logged_records import binary_records

DRAWS, SELECTIONS, N, K = 10_000, 2_500, 40, 10
TABLE = binary_records(N)
EXACT = [name for name, design in DESIGNS.items() if design.exact and name != "loss-stride"]
# Sizes of 1 are the kind "uniform" of the tests of each design.
FAMILIES = [name for name in SCORES if name != "one"] + ["mixture"]


def probabilities(score: str) -> np.ndarray:
    """What the engine makes of a score, whatever the seed."""
    policy = policy_for("uniform", "binary", score=score)
    rows = draw(TABLE, policy=policy, budget=K / N, seed=1, task="binary")
    return rows["probability"].to_numpy()


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("design", EXACT)
@pytest.mark.parametrize("score", FAMILIES)
def test_law_3_inclusion_frequencies_equal_the_probabilities_of_every_score(score, design):
    rows = population(probabilities(score), levels=(3,))
    chi2, far = misses(rows, design, DRAWS, bits=1)
    assert far == []
    assert chi2 < 1 + 5 * np.sqrt(2 / 20)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["calibrated", "infobatch"])
@pytest.mark.nightly
def test_law_3_inclusion_frequencies_of_whole_selections(policy):
    """Through `draw`, from records to rows, so that nothing on the way favours a row."""
    counts = np.zeros(N)
    for seed in range(1, SELECTIONS + 1):
        rows = draw(TABLE, policy=policy, budget=K / N, seed=seed, task="binary")
        counts += rows["drawn"].to_numpy()
    pi = rows["probability"].to_numpy()
    error = np.sqrt(np.maximum(SELECTIONS * pi * (1 - pi), 1e-12))
    z = (counts - SELECTIONS * pi) / error
    assert (np.abs(z[pi < 1]) < 4.5).all(), z
    assert (counts[pi == 1] == SELECTIONS).all()
    assert (z[pi < 1] ** 2).mean() < 1 + 5 * np.sqrt(2 / 20)
