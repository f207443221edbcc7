"""What docs/selection.md says about adding to the selection, done."""

import numpy as np
import pytest

from spark_jobs.selection import draw
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.designs.design import Block, Design, States, nothing
from spark_jobs.selection.hashing import hash_of_hashes
from spark_jobs.selection.policies import POLICIES
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.probabilities import Probabilities
from spark_jobs.selection.scores import SCORES, Score, View
from spark_jobs.selection.weights import WEIGHTINGS, Weights
from tests.helpers.logged_records import binary_records


def doubt(view: View) -> Array:
    """How near the logit is to 0; looks at no label."""
    return 1.0 / (1.0 + np.abs(view.prediction))


def square_root(pi: Probabilities, mean_probability: float) -> Weights:
    """Half way between 1/pi and 1, on a log scale; no offset."""
    return Weights(np.sqrt(mean_probability / pi.actual), np.zeros(pi.actual.size))


def tossed(block: Block, state: States) -> Array:
    """A coin for each row, by a second hash of its id."""
    return hash_of_hashes(block.hash, 1) / 2.0**64 < block.probability


def test_a_score_a_weighting_and_a_design_are_a_function_and_an_entry_each(monkeypatch):
    monkeypatch.setitem(SCORES, "doubt", Score(doubt, tasks=("binary",), needs_label=False))
    monkeypatch.setitem(WEIGHTINGS, "square-root", square_root)
    coins = Design(nothing, tossed, exact=True, fixed_size=False, strata=False)
    monkeypatch.setitem(DESIGNS, "coins", coins)
    mine = Policy("mine", "doubt", "coins", "square-root", floor=0.1)
    monkeypatch.setitem(POLICIES, mine.name, mine)

    table = binary_records(2000)
    rows = draw(table, policy="mine", budget=0.1, seed=7, task="binary").to_pandas()
    np.testing.assert_allclose(rows.score, 1 / (1 + np.abs(table["prediction"].to_numpy())))
    assert rows.probability.sum() == pytest.approx(200)
    assert rows.probability.min() >= 0.1 * 0.1  # the floor
    chosen = rows[rows.drawn]
    spread = np.sqrt((rows.probability * (1 - rows.probability)).sum())
    assert abs(len(chosen) - 200) < 4 * spread
    np.testing.assert_allclose(chosen.weight, np.sqrt(0.1 / chosen.probability))
