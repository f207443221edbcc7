"""Law 3, of estimates: intervals of 95 % hold the truth in 94 % of the draws, by every design."""

import numpy as np
import pytest
from scipy import stats

from reference.coverage import POPULATIONS, coverage
from spark_jobs.estimation.student import student_quantile
from spark_jobs.selection.designs import DESIGNS

EXACT = [name for name, design in DESIGNS.items() if design.exact]
ROWS, DRAWN = 4000, 400


@pytest.mark.parametrize("population", list(POPULATIONS))
@pytest.mark.parametrize("design", ["poisson", "systematic"])
def test_law_3_intervals_hold_the_truth(population: str, design: str) -> None:
    """600 draws; 0.94, less three standard errors of a share."""
    held = coverage(POPULATIONS[population](ROWS), DRAWN, design, 600).held
    assert held > 0.94 - 3 * np.sqrt(0.06 * 0.94 / 600)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("population", list(POPULATIONS))
@pytest.mark.parametrize("design", EXACT)
def test_law_3_intervals_of_every_exact_design_hold_the_truth(population: str, design: str) -> None:
    """10,000 draws."""
    assert coverage(POPULATIONS[population](ROWS), DRAWN, design, 10_000).held >= 0.94


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 7.3, 60, 5_000, 300_000])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.9995])
def test_quantiles_of_student_are_those_of_scipy(freedom: float, probability: float) -> None:
    wanted = stats.t.ppf(probability, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(wanted, rel=3e-5)
