"""The cube draws each row with its probability, whatever is balanced."""

import numpy as np
import pytest

from tests.helpers.drawing import PROBABILITIES, misses, population

DRAWS = 10_000


@pytest.mark.parametrize("kind", list(PROBABILITIES))
def test_law_3_inclusion_frequencies_equal_the_probabilities(kind):
    """Over two blocks, so that there is something to land together; the slowest of these files."""
    chi2, far = misses(population(PROBABILITIES[kind]), "cube", DRAWS, bits=1)
    assert far == []
    assert chi2 < 1 + 5 * np.sqrt(2 / 20)


def test_law_3_inclusion_frequencies_with_segments_and_strata():
    pi = PROBABILITIES["uniform"] + PROBABILITIES["skewed"]
    rows = population(pi, levels=(2,), stratum=[0] * 20 + [1] * 21)
    chi2, far = misses(rows, "cube", 2000, bits=1)
    assert far == []
    assert chi2 < 1 + 5 * np.sqrt(2 / 40)
